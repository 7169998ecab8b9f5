# What a newcomer needs: make demo, make test. `make help` lists the rest.
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# One more than processors: many tests wait for a process.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# Every child process would compile again what nobody may keep; most container images forbid keeping it.
export PYTHONDONTWRITEBYTECODE :=
.DEFAULT_GOAL := help
.PHONY: help demo serve test check unit bench lock mutation clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## Install, then run real invoices through the pipeline, break a module, swap it, roll back (ARGS=--no-serve ends by itself)
	@$(PYTHON) tools/environment.py runtime
	@$(BIN)/switchgear demo $(ARGS)

serve: ## Install, then serve an instance in ./switchgear-data
	@$(PYTHON) tools/environment.py runtime
	@$(BIN)/switchgear serve $(ARGS)

test: check ## Check style, types and floors, then run all tests on SQLite and PostgreSQL
	@echo "switchgear: running the tests"
	@rm -f .coverage .coverage.*
	@$(BIN)/pytest tests --cov --cov-report= -n $(WORKERS) --dist worksteal $(ARGS)
	@echo "switchgear: branch coverage; all code at least 80 %, domain and core at least 90 %"
	@$(BIN)/coverage report --format=total --fail-under=80
	@$(BIN)/coverage report --format=total --fail-under=90 --include='src/switchgear/domain/*,src/switchgear/core/*'

check: ## Check style, types and import layers
	@$(PYTHON) tools/environment.py test
	@echo "switchgear: checking style" && $(BIN)/ruff check . && $(BIN)/ruff format --check .
	@echo "switchgear: checking types" && $(BIN)/mypy
	@echo "switchgear: checking import layers" && $(BIN)/lint-imports

unit: ## Run the unit tests only
	@$(PYTHON) tools/environment.py test
	@$(BIN)/pytest tests/unit $(ARGS)

bench: ## Print the measured figures beside their limits and beside peers
	@$(PYTHON) tools/environment.py test
	@$(BIN)/uv pip install -q --require-hashes -r requirements/bench.txt
	@$(BIN)/python -m benchmarks $(ARGS)

mutation: ## Change the pure rules in thousands of ways and count what no test notices (about an hour)
	@$(PYTHON) tools/environment.py test
	@$(BIN)/uv pip install -q --require-hashes -r requirements/mutation.txt
	@HYPOTHESIS_PROFILE=mutation $(BIN)/mutmut run $(ARGS)
	@$(BIN)/mutmut results --all true | $(BIN)/python -m benchmarks.mutation_score

wheel: ## Build the wheel in dist/, for the container image and other machines (ops/)
	@$(PYTHON) tools/environment.py runtime
	@rm -rf dist && $(BIN)/uv build --quiet --wheel --out-dir dist

lock: ## Resolve the dependencies anew
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra procrastinate -o requirements/runtime.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header pyproject.toml --extra procrastinate --group test -o requirements/test.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header -c requirements/test.txt pyproject.toml --extra procrastinate --group test --group mutation -o requirements/mutation.txt
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header -c requirements/test.txt --group bench -o requirements/bench.txt

clean: ## Remove what the commands above made, but no instance
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* dist build

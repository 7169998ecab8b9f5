"""Describing modules and pipelines in a child process: what it prints, and what it never does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factories.plugin import MODULES, change_code, install, write_distribution
from switchgear.sdk.describe import secret_pointers
from switchgear.sdk.module_code import code_digest


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("describe"))


def describe(site: Path, *arguments: str, text: str = "") -> list[dict[str, Any]]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(site), *filter(None, sys.path)])}
    command = [sys.executable, "-P", "-m", "switchgear.sdk.describe", *arguments]
    done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True, timeout=60, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def described(site: Path, name: str) -> dict[str, Any]:
    [answer] = describe(site, "module", name)
    found: dict[str, Any] = answer["description"]
    return found


def test_a_module_is_described_with_everything_that_validation_needs(site: Path) -> None:
    found = described(site, "upper-text")

    assert (found["stage_id"], found["contract"], found["version"]) == ("upper", "tiny-upper@1", "1.0.0")
    assert found["guarantees"] == ["is_upper", "keeps_length"]
    assert found["title"] == "Capitals."
    assert list(found["inputs"]) == ["text"]
    assert found["inputs"]["text"]["optional"] is False
    assert found["inputs"]["text"]["schema"]["properties"]["text"] == {"title": "Text", "type": "string"}
    assert found["output_schema"]["properties"].keys() == {"text", "confidence"}
    assert len(found["code_digest"]) == 64


def test_the_document_itself_has_a_constant_for_a_schema(site: Path) -> None:
    assert described(site, "load-text")["inputs"] == {"blob": {"schema": {"x-blob": True}, "optional": False}}


def test_names_are_taken_one_after_the_other_from_standard_input_which_no_module_can_read(site: Path) -> None:
    (site / "reads.py").write_text(
        "import sys\nfrom switchgear_tiny.upper_text import UpperText\nassert not sys.stdin.read()\n"
    )
    write_distribution(site, "reading", "1", {"upper-reads": "reads:UpperText"})
    first, second = describe(site, "module", text="upper-reads\nload-text\n")

    assert (first["id"], second["id"]) == ("upper-reads", "load-text")
    assert {*first, *second} == {"id", "description"}


def test_an_optional_input_says_so(site: Path) -> None:
    inputs = described(site, "check-count")["inputs"]

    assert {name: item["optional"] for name, item in inputs.items()} == {"upper": False, "count": True}


def test_secret_settings_are_found_wherever_they_are(site: Path) -> None:
    assert described(site, "upper-secret")["secret_pointers"] == ["/nested/token", "/several/*", "/token"]


def test_secrets_are_found_in_maps_unions_and_recursive_schemas() -> None:
    secret = {"format": "secret-reference", "type": "string"}
    schema = {
        "$defs": {
            "Node": {
                "properties": {"key": {"anyOf": [secret, {"type": "null"}]}, "next": {"$ref": "#/$defs/Node"}},
            }
        },
        "properties": {
            "by/name": {"additionalProperties": secret},
            "node": {"$ref": "#/$defs/Node"},
            "plain": {"type": "string"},
        },
    }

    assert secret_pointers(schema) == ["/by~1name/*", "/node/key"]


def test_what_an_import_prints_never_reaches_the_answer(tmp_path: Path) -> None:
    site = install(tmp_path, modules={"upper-text": MODULES["upper-text"]})
    change_code(site, line="import os\nprint('noise')\nos.write(1, b'raw noise')")

    assert described(site, "upper-text")["stage_id"] == "upper"


def test_an_import_error_names_the_missing_package_and_others_are_still_described(site: Path) -> None:
    broken, good = describe(site, "module", "upper-importerror", "upper-text")

    assert broken["failure"]["missing"] == "switchgear_no_such_package"
    assert "Traceback" not in json.dumps(broken)
    assert "description" in good


def test_what_is_no_module_is_said_in_words(tmp_path: Path) -> None:
    site = install(tmp_path, modules={"odd": "switchgear_tiny.contracts:Text"})

    [answer] = describe(site, "module", "odd")

    assert "write @module(...) above the class" in answer["failure"]["message"]


def test_a_pipeline_is_described_with_contracts_as_both_sides_see_them(site: Path) -> None:
    [answer] = describe(site, "pipeline", "tiny")
    found = answer["description"]
    stages = {stage["id"]: stage for stage in found["stages"]}

    assert list(stages) == ["load", "upper", "count", "check", "send"]
    assert stages["count"]["required"] is False
    assert stages["upper"]["limits"]["timeout_s"] == 10
    assert [name for name, stage in stages.items() if stage["chain_is_ordered"]] == ["check"]
    contract = stages["upper"]["contract"]
    assert contract["confidence"] == "/confidence"
    # An output field with a default is optional for the producer and always there for the consumer.
    assert "loaded_by" not in stages["load"]["contract"]["output_schema"]["required"]
    assert contract["inputs"]["text"]["schema"] == stages["load"]["contract"]["output_sent_schema"]
    assert stages["load"]["contract"]["inputs"]["blob"]["schema"] == {"x-blob": True}
    assert len({stage["contract"]["digest"] for stage in stages.values()}) == 5


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, None),
        ({"probe": "unavailable"}, "renew-licence tiny"),
    ],
)
def test_a_probe_says_what_is_missing_and_how_to_repair_it(
    site: Path, settings: dict[str, Any], expected: str | None
) -> None:
    [answer] = describe(site, "probe", "upper-faulty", text=json.dumps(settings))

    lack = answer["lack"]
    assert (lack and lack["record"]["fields"]["fix"]) == expected


def test_bad_settings_are_named_without_their_value(site: Path) -> None:
    [answer] = describe(site, "probe", "upper-faulty", text=json.dumps({"mode": "canary-7731"}))

    assert answer["lack"]["while"] == "settings"
    assert "/mode" in answer["lack"]["message"]
    assert "canary-7731" not in json.dumps(answer)


def test_the_digest_follows_every_file_of_the_package_and_nothing_else(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").write_text("x = 1")
    (package / "data" / "table.csv").write_text("1")
    first = code_digest([package])

    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert code_digest([package]) == first
    (package / "data" / "table.csv").write_text("2")
    second = code_digest([package])
    (package / "data" / "table.csv").rename(package / "data" / "other.csv")
    third = code_digest([package])

    assert len({first, second, third}) == 3


def test_only_the_modules_own_package_counts_for_its_digest(tmp_path: Path) -> None:
    site = install(tmp_path)
    before = {name: described(site, name)["code_digest"] for name in ("upper-text", "upper-other")}
    change_code(site, "upper_text")
    after = {name: described(site, name)["code_digest"] for name in ("upper-text", "upper-other")}

    assert before["upper-text"] != after["upper-text"]
    assert before["upper-other"] == after["upper-other"]


def test_a_module_that_is_only_re_exported_counts_with_the_code_of_its_class(tmp_path: Path) -> None:
    site = install(tmp_path)
    (site / "front.py").write_text("from switchgear_tiny.upper_text import UpperText as UpperText\n")
    write_distribution(site, "front", "1", {"fronted": "front:UpperText"})

    roots = described(site, "fronted")["code_roots"]

    tiny = site / "switchgear_tiny"
    assert roots == [
        str(site / "front.py"),
        *(str(tiny / name) for name in ("__init__.py", "contracts.py", "upper_text")),
    ]


def helped(folder: Path) -> Path:
    """The plug-in, whose `upper_text` imports one helper at once and another one when it runs."""
    site = install(folder)
    tiny = site / "switchgear_tiny"
    (tiny / "shared").mkdir()
    (tiny / "shared" / "__init__.py").write_text("")
    (tiny / "shared" / "capitals.py").write_text("from . import letters\n")
    (tiny / "shared" / "letters.py").write_text("import json\n")
    (tiny / "shared" / "later.py").write_text("x = 1\n")
    (tiny / "shared" / "unused.py").write_text("x = 1\n")
    file = tiny / "upper_text" / "__init__.py"
    text = file.read_text().replace(
        "return Upper", "from switchgear_tiny.shared import later\n\n        assert later.x\n        return Upper"
    )
    file.write_text(text.replace("from switchgear.sdk", "from ..shared import capitals\nfrom switchgear.sdk", 1))
    return site


@pytest.mark.parametrize("name", ["__init__", "capitals", "letters", "later"])
def test_what_a_module_imports_from_its_distribution_counts_for_its_digest(tmp_path: Path, name: str) -> None:
    site = helped(tmp_path)
    before = {module: described(site, module)["code_digest"] for module in ("upper-text", "upper-other")}
    file = site / "switchgear_tiny" / "shared" / f"{name}.py"
    file.write_text(f"{file.read_text()}\ny = 2\n")
    after = {module: described(site, module) for module in ("upper-text", "upper-other")}

    assert after["upper-text"]["code_digest"] != before["upper-text"]
    assert str(file) in after["upper-text"]["watched"]
    assert after["upper-other"]["code_digest"] == before["upper-other"]


def test_what_nobody_imports_and_where_the_package_is_do_not_count_for_the_digest(tmp_path: Path) -> None:
    site, elsewhere = helped(tmp_path / "a"), helped(tmp_path / "b")
    (elsewhere / "switchgear_tiny" / "shared" / "unused.py").write_text("x = 2\n")

    digests = [described(place, "upper-text")["code_digest"] for place in (site, elsewhere)]

    assert digests[0] == digests[1]


def test_the_digest_does_not_depend_on_which_modules_were_described_before(tmp_path: Path) -> None:
    site = helped(tmp_path)

    answers = [describe(site, "module", *names) for names in (("upper-text", "load-text"), ("load-text", "upper-text"))]

    digests = [{item["id"]: item["description"]["code_digest"] for item in answer} for answer in answers]
    assert digests[0] == digests[1]


def test_a_second_package_of_the_same_distribution_counts_for_the_digest(tmp_path: Path) -> None:
    site = helped(tmp_path)
    (site / "tiny_shared.py").write_text("x = 1\n")
    file = site / "switchgear_tiny" / "upper_text" / "__init__.py"
    file.write_text(f"{file.read_text()}\nimport tiny_shared\n")
    assert str(site / "tiny_shared.py") not in described(site, "upper-text")["code_roots"]
    info = next(site.glob("switchgear_tiny-*.dist-info"))

    (info / "RECORD").write_text("switchgear_tiny/__init__.py,,\ntiny_shared.py,,\n")

    assert str(site / "tiny_shared.py") in described(site, "upper-text")["code_roots"]


def test_a_built_in_module_counts_with_what_it_shares_with_others_and_without_the_engine(site: Path) -> None:
    roots = described(site, "read-pdfium")["code_roots"]

    places = {root.rpartition("/switchgear/")[2] for root in roots}
    assert {"modules/read_pdfium", "invoice/page_words.py", "invoice/types.py"} <= places
    assert not [place for place in places if place.startswith(("sdk/", "core/")) or place == "__init__.py"]

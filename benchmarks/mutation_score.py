"""Share of the changes of `domain/` that the tests notice, by file.

Usage: mutmut results --all true | python -m benchmarks.mutation_score
A change that no test notices is a rule that no test states, or words of a message that no test repeats.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable

from benchmarks.tables import Figure, show

#: A change that makes a test run for ever is noticed too.
NOTICED = ("killed", "timeout", "suspicious", "segfault", "caught by type check")

UNTRIED = "not checked"


def counted(lines: Iterable[str]) -> dict[str, Counter[str]]:
    """File -> how many changes ended in which way."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        name, _, status = line.strip().rpartition(": ")
        module = name.rsplit(".", 1)[0]
        if module.startswith("switchgear.domain") and status:
            found[module.removeprefix("switchgear.")][status] += 1
    return found


def figure_of(name: str, statuses: Counter[str]) -> Figure:
    """One row: noticed of all."""
    noticed = sum(statuses[status] for status in NOTICED)
    untried = statuses[UNTRIED]
    tried = statuses.total() - untried
    share = f"{noticed / tried:.1%}" if tried else "not tried"
    return Figure(name, share, f"{noticed} of {tried}" + (f", {untried} not tried" if untried else ""))


def main() -> None:
    """Print the table."""
    found = counted(sys.stdin)
    whole: Counter[str] = sum(found.values(), Counter())
    if not whole:
        sys.exit("There are no results. Run `make mutation` first.")
    rows = [figure_of(name, statuses) for name, statuses in sorted(found.items())]
    show("Mutation score of the pure rules", [*rows, figure_of("all of domain/", whole)])


if __name__ == "__main__":
    main()

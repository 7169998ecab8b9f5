"""The runbook: one paragraph for each code of the closed catalogue, served at `/problems/{code}`. INTERFACES 1."""

from collections.abc import Mapping
from typing import Final

from switchgear.domain.errors import Code
from switchgear.interface.api.problem_catalogue.changes import CHANGES
from switchgear.interface.api.problem_catalogue.entry import Entry
from switchgear.interface.api.problem_catalogue.requests import REQUESTS
from switchgear.interface.api.problem_catalogue.runs import RUNS

#: A test fails when a code has no paragraph.
CATALOGUE: Final[Mapping[Code, Entry]] = {**RUNS, **CHANGES, **REQUESTS}

__all__ = ["CATALOGUE", "Entry"]

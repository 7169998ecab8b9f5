"""The pages of docs/reference/, each a function that reads the code and returns Markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from generator.access import api_page, role_table_page
from generator.catalogues import codes_page, events_page, metrics_page, settings_page
from generator.commands import cli_page
from generator.pipeline import modules_page, pipeline_page, result_page
from generator.states import states_page

PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "codes.md": codes_page,
    "events.md": events_page,
    "metrics.md": metrics_page,
    "states.md": states_page,
    "cli.md": cli_page,
    "api.md": api_page,
    "role-table.md": role_table_page,
    "pipeline.md": pipeline_page,
    "modules.md": modules_page,
    "result.md": result_page,
}

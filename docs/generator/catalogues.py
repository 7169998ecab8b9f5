# ruff: noqa: E501  # a paragraph of prose is one line
"""Settings, reason codes, log events, audit actions, metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from generator.markdown import code, table, type_words
from generator.sentences import AUDIT_ACTIONS, LOG_EVENTS
from switchgear.core import settings as settings_module
from switchgear.core.observability import EventName, Metrics
from switchgear.core.settings import FolderSource, Settings
from switchgear.domain.audit import AuditAction
from switchgear.domain.errors import Code
from switchgear.ingestion.sources.folder import UNFINISHED
from switchgear.interface.api.problem_catalogue import CATALOGUE
from switchgear.interface.api.problems import STATUS

#: Defaults that depend on the machine or on other settings.
_COMPUTED = {
    "workers": "the number of cores",
    "home": "`./switchgear-data`",
    "artifacts_dir": "`artifacts` in HOME",
    "database_url": "SQLite in HOME",
}
#: Variables with the prefix that are no settings of the server.
_OTHER_VARIABLES: Mapping[str, str] = {
    "SWITCHGEAR_URL": "Address of the server that the command line speaks to; without it, the instance's own.",
    "SWITCHGEAR_TOKEN": "Token that the command line sends to `SWITCHGEAR_URL`.",
    "SWITCHGEAR_SECRET_NAME": "A secret, referred to in module settings as `env:SWITCHGEAR_SECRET_NAME`; any NAME.",
    "SWITCHGEAR_OUT": "Set by the server for modules: the folder for results.",
}


def settings_page() -> str:
    """Every setting with its type, default and meaning."""
    schema = Settings.model_json_schema()["properties"]
    rows = []
    for name, field in Settings.model_fields.items():
        if name == "source":
            continue
        default = _COMPUTED.get(name)
        if default is None:
            default = code(_plain(field.get_default(call_default_factory=True)))
        rows.append((code(name), code(f"SWITCHGEAR_{name.upper()}"), _words(schema[name]), default, field.description))
    sources = [(code(name), field.description) for name, field in FolderSource.model_fields.items() if name != "kind"]
    others = [(code(name), meaning) for name, meaning in _OTHER_VARIABLES.items()]
    return f"""# Settings

A setting is given on the command line (where a command has the option), as an environment variable, or in `{settings_module.FILE_NAME}`, which is looked for from the current folder upwards. The first of these counts. A name that is not known, in the file or with the prefix `{settings_module.PREFIX}`, is refused with the name that was probably meant. `switchgear doctor` prints each setting with its value and where it came from.

{table(("in the file", "variable", "type", "default", "meaning"), rows)}
## Folders to take documents from

`[[source]]` tables in `{settings_module.FILE_NAME}`, with `kind = "folder"`. A file is taken when its size has been stable for two seconds, and moved after it was accepted. Folders inside it are left alone, and so are hidden files (names that begin with a dot) and those whose names say that they are still being written ({", ".join(map(code, UNFINISHED))}). Links are not followed: they and pipes stay, like files that cannot be read, and `switchgear status` names them. Relative paths are meant from the file's folder.

{table(("name", "meaning"), sources)}
## Other variables

{table(("variable", "meaning"), others)}"""


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or value == () else str(value)


def _words(schema: Mapping[str, object]) -> str:
    return type_words(schema).replace(" or null", "")


def codes_page() -> str:
    """Every reason code with its runbook paragraph."""
    groups: dict[str, list[Code]] = {}
    for each in Code:
        groups.setdefault(each.partition(".")[0], []).append(each)
    parts = [
        "# Reason codes",
        "",
        "Whatever waits, fell back, is on hold, failed or was refused gives one of these codes. The list is closed. The"
        " server explains each at `/problems/{code}`, with the same words as here.",
        "",
        "Groups: " + ", ".join(f"[{name}](#{name})" for name in groups),
        "",
    ]
    for name, members in groups.items():
        parts += [f"## {name}", ""]
        for each in members:
            entry = CATALOGUE[each]
            status = f" (HTTP {STATUS[each]})" if each in STATUS else ""
            parts += [f"### `{each}`", "", f"**{entry.title}**{status}. {entry.meaning}", ""]
            parts += [f"*Usual cause:* {entry.cause}", "", f"*What to do:* {entry.remedy}", ""]
    return "\n".join(parts)


def events_page() -> str:
    """Log events and audit actions."""
    log = [(code(each), LOG_EVENTS[each]) for each in EventName]
    audit = [(code(each), AUDIT_ACTIONS[each]) for each in AuditAction]
    return f"""# Events

## Log events

One JSON object per line on standard error (`LOG_FORMAT=text` writes lines for people). Each has `at`, `level` and `event`; where they are known also `run_id`, `document_id`, `stage`, `module`, `configuration_version`, `request_id`, `actor`. Units are in the names (`duration_us`, `_s`, `_bytes`). No line carries document content or a secret. Lines about changes are written after the commit.

{table(("event", "when"), log)}
## Audit actions

Entries of the audit trail, written in the transaction of the change. See [the audit chain](../explanation/audit-chain.md).

{table(("action", "when"), audit)}"""


def metrics_page() -> str:
    """Every metric with its type and labels."""
    rows = [
        (code(name), kind, ", ".join(code(label) for label in labels), words) for name, kind, labels, words in known()
    ]
    return f"""# Metrics

`GET /metrics` answers in the text format of Prometheus; it needs a token with the role viewer or above. No run or document id is ever a label.

{table(("metric", "type", "labels", "meaning"), rows)}"""


def known() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Yield name, type, labels and meaning of each metric."""
    metrics = Metrics()
    for registry in (metrics._counted, metrics._seen):
        for collector in _collectors(registry):
            described = next(iter(collector.describe()))
            suffix = "_total" if described.type == "counter" else ""
            labels = tuple(getattr(collector, "_labelnames", ()))
            yield described.name + suffix, described.type, labels, described.documentation


def _collectors(registry: object) -> list[Any]:
    return list(getattr(registry, "_collector_to_names", {}))

"""What the commands print: results on stdout, talk on stderr, colours and progress on a terminal only.

Rich is imported on first use, so that short commands stay short. Source: INTERFACES 3; RELIABILITY rows 50, 52 (names
and texts of documents are shown, never obeyed).
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final, Protocol, TypeVar

import typer

Item = TypeVar("Item")

#: Option of every command.
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Message = Annotated[str, typer.Option("--message", "-m", help="Why; kept in the audit trail.")]

#: Colour of a state; what is not named is printed as it is.
_STYLES: Final[Mapping[str, str]] = {
    "active": "green",
    "applied": "green",
    "available": "green",
    "compatible": "green",
    "ok": "green",
    "succeeded": "green",
    "valid": "green",
    "running": "cyan",
    "draining": "cyan",
    "warming": "cyan",
    "queued": "cyan",
    "on hold": "yellow",
    "degraded": "yellow",
    "deprecated": "yellow",
    "unknown": "yellow",
    "disabled": "yellow",
    "warning": "yellow",
    "failed": "red",
    "rejected": "red",
    "unavailable": "red",
    "incompatible": "red",
    "error": "red",
    "timeout": "red",
    "crash": "red",
}
#: Words that people see in place of the API's.
_SHOWN: Final[Mapping[str, str]] = {
    "parked": "on hold",
    "rolled_back": "rolled back",
    "not_applicable": "not applicable",
}
#: Characters of a document's name that a table shows.
_LONG_NAME: Final = 60
#: What stands in a string for bytes of a file name that are no text.
_NO_TEXT: Final = re.compile("[\ud800-\udfff]")
#: Unicode categories of characters that a terminal obeys or that hide others.
_OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def printable(value: object) -> str:
    """Return *value* in one line without what a terminal obeys: control, direction and surrogate characters."""
    text = "" if value is None else str(value)
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _OBEYED else c for c in text)


def short_name(name: str) -> str:
    """Return a document's name for a table: a long one by its begin and its end, so that one does not widen all."""
    return name if len(name) <= _LONG_NAME else f"{name[:39]}\N{HORIZONTAL ELLIPSIS}{name[-20:]}"


def state_word(value: object) -> str:
    """Return the word that people see for a state: `parked` is shown as `on hold`."""
    text = printable(value)
    return _SHOWN.get(text, text)


def json_text(value: Any) -> str:
    """Return *value* as one JSON document with its newline."""
    return _utf_8(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"


def print_json(value: Any) -> None:
    """Print *value* on stdout, as one JSON document."""
    sys.stdout.write(json_text(value))


def print_json_line(value: Any) -> None:
    """Print *value* on stdout as one line, for streams."""
    sys.stdout.write(_utf_8(json.dumps(value, ensure_ascii=False)) + "\n")
    sys.stdout.flush()


def _utf_8(text: str) -> str:
    """*text* with an escape for each byte of a file name that is no text (PEP 383): readers get the same name back."""
    return _NO_TEXT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def show(text: str = "") -> None:
    """Print a line of the result on stdout; a terminal shows the states in colour elsewhere, never here."""
    sys.stdout.write(text + "\n")


def say(text: str = "") -> None:
    """Print a line of talk on stderr."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def first_of(items: Iterable[Item], limit: int) -> list[Item]:
    """The first *limit* of *items*; says when there are more: nothing is cut in silence."""
    found = list(islice(items, limit + 1))
    if len(found) > limit:
        say(f"There are more than these {limit}; --limit shows more.")
    return found[:limit]


def show_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str = "Nothing yet.") -> None:
    """Print *rows* under *headers* on stdout; *empty* goes to stderr when there are none."""
    cells = [[state_word(cell) for cell in row] for row in rows]
    if not cells:
        say(empty)
        return
    if not sys.stdout.isatty():
        for line in table_lines(headers, cells):
            show(line)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(Text(header), overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console(highlight=False, emoji=False, markup=False).print(table)


def table_lines(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Return a table as lines without colour; nothing is cut, however wide."""
    cells = [list(headers), *([state_word(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[column]) for row in cells) for column in range(len(headers))]
    return [
        "  ".join(cell + " " * (widths[at] - _width(cell)) for at, cell in enumerate(row)).rstrip() for row in cells
    ]


def _width(text: str) -> int:
    """Columns that *text* takes: wide characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def show_fields(fields: Mapping[str, object]) -> None:
    """Print names and values below each other; what is None or empty is left out."""
    kept = {name: printable(value) for name, value in fields.items() if value not in (None, "", [], {})}
    width = max((len(name) for name in kept), default=0) + 2
    for name, value in kept.items():
        show(f"{name:<{width}}{state_word(value)}")


def show_why(why: Mapping[str, Any] | None, indent: str = "") -> None:
    """Print a `why` object: its sentence, what blocks, and what can be done now."""
    if not why:
        return
    show(f"{indent}{printable(why.get('summary'))} [{printable(why.get('code'))}]")
    for blocking in why.get("blocking") or ():
        show(f"{indent}  blocked by {printable(blocking)}")
    for action in why.get("next_actions") or ():
        show(f"{indent}  {action_line(action)}")


def action_line(action: Mapping[str, Any]) -> str:
    """Return `label: command` of a next action."""
    how = action.get("cli") or " ".join(str(action[key]) for key in ("method", "path") if action.get(key))
    return printable(f"{action.get('label')}: {how}" if how else action.get("label"))


def problem_lines(problem: Mapping[str, Any]) -> list[str]:
    """Return a problem document as lines for people: the sentence, every finding, what to do now."""
    lines = [printable(problem.get("detail") or problem.get("title"))]
    for finding in problem.get("errors") or ():
        lines.append("  " + finding_line(finding))
        if finding.get("hint"):
            lines.append(f"    {printable(finding['hint'])}")
    if problem.get("more"):
        lines.append(f"  and {problem['more']} more")
    lines += [f"  {action_line(action)}" for action in problem.get("next_actions") or ()]
    return lines


def finding_line(finding: Mapping[str, Any]) -> str:
    """Return one finding of a validation or refusal: where, what, and its code."""
    where = printable(finding.get("stage_id") or finding.get("pointer"))
    what = f"{printable(finding.get('message') or finding.get('detail'))} [{printable(finding.get('code'))}]"
    return f"{where}: {what}" if where else what


def moment(value: object) -> str:
    """Return a time of the API for people, in local time to the second."""
    if not value:
        return ""
    try:
        if isinstance(value, int | float):
            when = datetime.fromtimestamp(value / 1_000_000, UTC)
        else:
            when = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except (ValueError, OverflowError, OSError):
        return printable(value)
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


#: Limits of a stage as people say them.
_LIMITS: Final[Mapping[str, str]] = {
    "timeout_s": "timeout {} s",
    "retries": "retries {}",
    "concurrency": "concurrency {}",
    "memory_mb": "memory {} MiB",
}


def limit_words(limits: Mapping[str, Any]) -> str:
    """Return limits for people: `timeout 60 s, retries 2`; what has no value is left out."""
    return ", ".join(
        _LIMITS.get(name, name + " {}").format(f"{value:g}" if isinstance(value, float) else written(value))
        for name, value in limits.items()
        if value is not None
    )


def pairs(values: Mapping[str, Any]) -> str:
    """Return settings as `config set` takes them: `languages=de,en, pages=3`."""
    return ", ".join(f"{name}={written(value)}" for name, value in values.items())


def written(value: object) -> str:
    """Return a JSON value as people write it: a text and a list of words without quotes, anything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    return json.dumps(value, ensure_ascii=False)


def seconds(value: object) -> str:
    """Return a duration in seconds for people: `12.3 s`, `4 min`."""
    if not isinstance(value, int | float):
        return ""
    if value < 120:
        return f"{value:.3f} s" if value < 1 else f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"


class Bar(Protocol):
    """Something that shows how far a command is."""

    def advance(self, text: str) -> None:
        """One more is done; *text* says what."""

    def note(self, text: str) -> None:
        """Say why it does not go on."""


class _Silent:
    def advance(self, text: str) -> None:
        """Show nothing: the output is no terminal."""

    def note(self, text: str) -> None:
        """A line for the log of whoever runs this."""
        say(text)


@contextmanager
def progress(title: str, total: int | None) -> Iterator[Bar]:
    """Show a progress bar on stderr while the block runs, without an end for None; nothing when it is no terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False), transient=True) as bars:
        task = bars.add_task(title, total=total)

        class _Shown:
            def advance(self, text: str) -> None:
                bars.update(task, advance=1, description=f"{title}: {printable(text)[:40]}")

            def note(self, text: str) -> None:
                bars.update(task, description=f"{title}: {text}")

        yield _Shown()

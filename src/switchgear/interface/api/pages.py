"""Small pages of our own: no script, no request that leaves the host. Source: INTERFACES 2, 7."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from switchgear.domain.access import Need, who_may
from switchgear.domain.errors import Code
from switchgear.interface.api.problem_catalogue import CATALOGUE

_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;"
    "background:#fff}code{font-size:.95em}table{border-collapse:collapse;width:100%}th,td{text-align:left;"
    "vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid #8884}a{color:#0b57d0}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}.bad{color:#b3261e}.warn{color:#8a5000}"
    ".good{color:#146c2e}@media(prefers-color-scheme:dark){body{background:#141414;color:#eee}a{color:#8ab4f8}"
    ".bad{color:#f2b8b5}.warn{color:#f6c26b}.good{color:#7fd69a}}"
    "@media(max-width:40rem){thead{display:none}tr,td{display:block}tr{padding:.5rem 0;border-bottom:1px solid #8884}"
    "td{border:0;padding:0;overflow-wrap:anywhere}td:empty{display:none}"
    'td::before{content:attr(data-head) ": ";opacity:.7}}'
)


def page(title: str, body: str) -> str:
    """A whole HTML page; *body* is HTML already."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; cells are HTML already."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    lines = "".join(
        "<tr>"
        + "".join(f'<td data-head="{escape(name)}">{cell}</td>' for name, cell in zip(heads, row, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def problem_page(code: Code) -> str:
    """The runbook paragraph of one code."""
    entry = CATALOGUE[code]
    return page(
        entry.title,
        f"<p><code>{escape(code)}</code></p><h1>{escape(entry.title)}</h1><p>{_prose(entry.meaning)}</p>"
        f"<h2>Why</h2><p>{_prose(entry.cause)}</p><h2>What to do now</h2><p>{_prose(entry.remedy)}</p>"
        '<p><a href="/problems">All codes</a></p>',
    )


def problems_page() -> str:
    """Every code with its title."""
    rows = [
        [f'<a href="/problems/{escape(code)}"><code>{escape(code)}</code></a>', escape(entry.title)]
        for code, entry in CATALOGUE.items()
    ]
    return page("Reason codes", f"<h1>Reason codes</h1>{table(['Code', 'In short'], rows)}")


def documentation_page(document: Mapping[str, Any]) -> str:
    """Every operation of the OpenAPI document."""
    parts = [f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>"]
    parts.append(f"<p>{_prose(document['info']['description'])}</p>")
    parts.append('<p>The whole description, for tools: <a href="/openapi.json">openapi.json</a></p>')
    by_tag: dict[str, list[list[str]]] = {}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            row = _row(path, method, operation)
            by_tag.setdefault((operation.get("tags") or ["other"])[0], []).append(row)
    for tag, rows in by_tag.items():
        heads = ["Request", "Does", "Needs", "Parameters", "Answers"]
        parts.append(f"<h2>{escape(tag)}</h2>{table(heads, rows)}")
    return page(f"{document['info']['title']} API", "".join(parts))


def _row(path: str, method: str, operation: Mapping[str, Any]) -> list[str]:
    parameters = [
        escape(parameter["name"]) for parameter in operation.get("parameters", ()) if parameter["in"] != "path"
    ]
    return [
        f"<code>{method.upper()} {escape(path)}</code>",
        _prose(operation.get("description", operation.get("summary", ""))),
        escape(who_may(Need(operation.get("x-need", Need.ANONYMOUS)))),
        ", ".join(f"<code>{name}</code>" for name in parameters),
        escape(", ".join(operation["responses"])),
    ]


def _prose(text: str) -> str:
    """Text with words in back-quotes as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))

"""`switchgear tokens`: credentials of people and systems."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from switchgear.interface.cli.client import connect
from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.output import AsJson, Message, moment, print_json, say, show, show_table

app = typer.Typer()

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


@app.command("create", epilog="Example: switchgear tokens create scanner --role ingest --expires 90d")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who will use it; shown in the audit trail.")],
    role: Annotated[str, typer.Option(help="ingest, viewer, operator, maintainer, admin.")],
    expires: Annotated[str | None, typer.Option(metavar="WHEN", help="24h, 90d, 4w, or a date.")] = None,
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Make a token and print its secret, which is shown this once."""
    body = {"name": name, "role": role, "message": message}
    if expires is not None:
        body["expires_at"] = expiry(expires, datetime.now(UTC)).isoformat()
    with connect() as api:
        created = api.post("/tokens", body)
    if as_json:
        print_json(created)
        return
    token = created["token"]
    until = moment(token.get("expires_at")) or "it is revoked"
    say(f"Token {token['id']} for {token['name']}, role {token['role']}, until {until}. Its secret, shown only now:")
    show(created["secret"])


def expiry(text: str, now: datetime) -> datetime:
    """Return when a token ends: after a duration such as `90d`, or at a date.

    Raises:
        WrongUse: The text is neither.
    """
    found = re.fullmatch(r"(\d{1,4})([hdw])", text)
    if found:
        return now + int(found[1]) * _UNITS[found[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{text!r} is no time. Write 24h, 90d, 4w, or a date such as 2027-01-31.") from None
    return when if when.tzinfo else when.astimezone()


@app.command("list", epilog="Example: switchgear tokens list")
def list_tokens(as_json: AsJson = False) -> None:
    """List the tokens, without their secrets."""
    with connect() as api:
        tokens = api.list("/tokens")
    if as_json:
        print_json(tokens)
        return
    show_table(
        ("token", "name", "role", "valid", "created", "by", "expires", "revoked"),
        [
            (
                token["id"],
                token["name"],
                token["role"],
                "yes" if token["is_valid"] else "no",
                moment(token["created_at"]),
                token["created_by"],
                moment(token.get("expires_at")),
                moment(token.get("revoked_at")),
            )
            for token in tokens
        ],
    )


@app.command("revoke", epilog='Example: switchgear tokens revoke tok_01... -m "The scanner was sold"')
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id.")],
    message: Message = "",
    as_json: AsJson = False,
) -> None:
    """Revoke a token; the next request with it is refused."""
    with connect() as api:
        etag = api.raw("GET", f"/tokens/{token_id}").headers["ETag"]
        parameters = {"message": message} if message else {}
        token = api.raw("DELETE", f"/tokens/{token_id}", headers={"If-Match": etag}, params=parameters).json()
    if as_json:
        print_json(token)
        return
    show(f"{token['id']} ({token['name']}) is revoked.")

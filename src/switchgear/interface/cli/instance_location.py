"""Which instance a command works on, and whether a server of it lives. Source: INTERFACES 3.

The instance is the nearest `switchgear.toml` upwards, else HOME; only `init`, `serve` and `demo` make one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from switchgear.interface.cli.errors import CommandFailed, WrongUse

if TYPE_CHECKING:
    from switchgear.core.settings import Settings

#: Written by `serve` into HOME while it lives.
SERVER_FILE: Final = "server.json"
TOKEN_FILE: Final = "admin.token"  # noqa: S105 - a file name


@dataclass(frozen=True, slots=True)
class LiveServer:
    """What `server.json` says: where a server of the instance listens, and which process it is."""

    url: str
    process_id: int


def settings_here(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of the instance here, or of the one that `serve` would make.

    Raises:
        CommandFailed: A setting is unknown or impossible; the sentence names each.
    """
    from switchgear.core.settings import SettingsInvalid, load_settings

    try:
        return load_settings(Path.cwd(), overrides=overrides)
    except SettingsInvalid as error:
        raise CommandFailed(str(error)) from error


def require_instance(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings of the instance here.

    Raises:
        WrongUse: There is none; the sentence says which paths were looked at, and how to make one.
    """
    from switchgear.core.settings import find_instance, home_without_file

    here = Path.cwd()
    if find_instance(here) is None:
        raise WrongUse(
            f"There is no Switchgear instance here: no switchgear.toml in {here} or a folder above it, and no folder "
            f"{home_without_file(here)}. Make one with `switchgear init`, start one with `switchgear serve`, name a "
            "server with SWITCHGEAR_URL and SWITCHGEAR_TOKEN, or look around with `switchgear demo`."
        )
    return settings_here(overrides)


def admin_token(home: Path) -> str:
    """Return the instance's own admin token; whoever can read HOME is admin.

    Raises:
        CommandFailed: It cannot be read.
    """
    path = home / TOKEN_FILE
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise CommandFailed(
            f"The admin token {path} cannot be read: {error.strerror}. Run this as the user who owns the instance, or "
            "set SWITCHGEAR_URL and SWITCHGEAR_TOKEN. When the file is gone, start the server again: it makes another."
        ) from error


def live_server(home: Path) -> LiveServer | None:
    """Return the server that HOME names, when its process lives; whether it answers is for the caller to see."""
    try:
        found = json.loads((home / SERVER_FILE).read_text(encoding="utf-8"))
        server = LiveServer(str(found["url"]), int(found["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return server if _lives(server.process_id) else None


def write_server_file(home: Path, url: str) -> None:
    """Say in HOME that this process serves it at *url*; readable by the owner only."""
    temporary = home / f".{SERVER_FILE}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"url": url, "pid": os.getpid()}, stream)
    temporary.replace(home / SERVER_FILE)


def remove_server_file(home: Path) -> None:
    """Take back what `write_server_file` said, unless another server has taken its place."""
    server = live_server(home)
    if server is not None and server.process_id == os.getpid():
        (home / SERVER_FILE).unlink(missing_ok=True)


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""The API's description of itself, without a database or a server behind it."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, cast

from switchgear.core.settings import Settings
from switchgear.interface.api.main import create_app
from switchgear.interface.api.services import Services


@cache
def described_api() -> dict[str, Any]:
    """Return the OpenAPI document; nothing is started for it."""
    unused = dict.fromkeys(name for name in Services.__annotations__ if name != "settings")
    services = SimpleNamespace(**{**unused, "settings": Settings(), "clock": lambda: 0})
    return create_app(cast(Any, services)).openapi()

"""The configuration service: versioning, validation, activation, rollback, fallback plans. Source: T012, T029, T033."""

from __future__ import annotations

from switchgear.core.configuration_service.activating import Activating
from switchgear.core.configuration_service.making import Making
from switchgear.core.configuration_service.starting import Starting


class ConfigurationService(Making, Activating, Starting):
    """Everything that people, and the server by itself, do to configurations; see `Reading` for its arguments."""

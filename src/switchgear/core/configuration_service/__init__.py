"""Configurations: made, validated, compared, activated, rolled back. Source: T012, DESIGN 4."""

from switchgear.core.configuration_service.admitting import active_tag
from switchgear.core.configuration_service.differences import Change, Diff
from switchgear.core.configuration_service.errors import (
    ActivationPending,
    AlreadyActive,
    BaseMoved,
    ConfigurationInvalid,
    DigestBlocked,
    PipelineMismatch,
)
from switchgear.core.configuration_service.making import Created
from switchgear.core.configuration_service.reading import Page
from switchgear.core.configuration_service.service import ConfigurationService

__all__ = [
    "ActivationPending",
    "AlreadyActive",
    "BaseMoved",
    "Change",
    "ConfigurationInvalid",
    "ConfigurationService",
    "Created",
    "Diff",
    "DigestBlocked",
    "Page",
    "PipelineMismatch",
    "active_tag",
]

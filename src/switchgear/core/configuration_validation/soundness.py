"""Remembers about which modules, with which settings, nothing was to be said: most of a version is its base's.

Only what follows from the settings, the module and its stage alone is remembered. What may change without them, secrets
on this machine and what the code of modules refuses, is looked at each time.
"""

from __future__ import annotations

from typing import Final

from switchgear.core.configuration_validation.availability import check_deprecation
from switchgear.core.configuration_validation.contracts import check_contract
from switchgear.core.configuration_validation.findings import Collector, Purpose, ValidationOptions
from switchgear.core.configuration_validation.identity_cache import IdentityCache
from switchgear.core.configuration_validation.settings import check_settings, secrets_in
from switchgear.core.configuration_validation.structure import Use
from switchgear.domain.stage import ModuleDescription, Snapshot

#: Settings that anybody may send are kept with an answer, 64 KiB at most: enough for the versions in use, and no more.
_sound: Final[IdentityCache[bool]] = IdentityCache(512)


def check_use(use: Use, module: ModuleDescription, snapshot: Snapshot, to: Collector) -> None:
    """Report what is wrong with the settings of a module, and where it does not fulfil its stage's contract."""
    if not snapshot.mistakes and _sound.get(use.settings, module, use.stage, make=lambda: _is_sound(use, module)):
        return
    check_settings(use, module, to, snapshot.mistakes)
    check_contract(use, module, to)
    check_deprecation(use, module, to)


def _is_sound(use: Use, module: ModuleDescription) -> bool:
    if any(secrets_in(use.settings, module.secret_pointers)):
        return False
    found = Collector(Purpose.CREATE, ValidationOptions())
    check_settings(use, module, found, {})
    check_contract(use, module, found)
    check_deprecation(use, module, found)
    return not found.found

"""Turns what a module declared into the paths that its workers may reach from level L2 on. Source: RELIABILITY 4."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from switchgear.domain.errors import Code
from switchgear.domain.stage import Lack
from switchgear.ingestion.module_pool.values import ModuleUse, StartRefused, Surroundings
from switchgear.sdk.host import namespaces
from switchgear.sdk.host.enclosure import Enclosure


def enclosure_of(use: ModuleUse, around: Surroundings) -> Enclosure:
    """Look up programs, variables and settings; folders to write are made when they are missing.

    Raises:
        StartRefused: The module declares to write where the instance keeps its own.
    """
    path = around.environment.get("PATH", os.defpath)
    reads = [item if "/" in item else shutil.which(item, path=path) for item in use.reads]
    settings = json.loads(use.settings_json)
    writes = []
    for declared in use.writes:
        folder = _folder(declared, around.environment, settings)
        if folder is None:
            continue
        _refuse_private(use.module_id, folder, around)
        with contextlib.suppress(OSError):  # the module cannot write it either, and says so in its own words
            folder.mkdir(parents=True, exist_ok=True)
        writes.append(str(folder))
    private = tuple(str(item) for item in around.private)
    return Enclosure(tuple(filter(None, reads)), tuple(writes), private, use.network, strict=use.level == "L3")


def namespaces_of(use: ModuleUse) -> int:
    """Kinds of namespaces that its workers get; who declared the network keeps that of the server."""
    if use.level != "L3":
        return 0
    return namespaces.PROCESSES | namespaces.SHARED_MEMORY | (0 if use.network else namespaces.NETWORK)


def _folder(declared: str, environment: Mapping[str, str], settings: Any) -> Path | None:
    """The folder behind one item of `Requires.writes`; None when its variable or setting names none."""
    if declared.startswith("settings:"):
        value = _at(settings, declared.removeprefix("settings:/").split("/"))
        return Path(os.path.abspath(value)) if isinstance(value, str) and value else None
    name, _, below = declared.removeprefix("$").partition("/")
    value = environment.get(name)
    return Path(os.path.normpath(os.path.join(value, below))) if value and os.path.isabs(value) else None


def _at(settings: Any, names: Sequence[str]) -> Any:
    for name in names:
        settings = settings.get(name) if isinstance(settings, Mapping) else None
    return settings


def _refuse_private(module_id: str, folder: Path, around: Surroundings) -> None:
    real = folder.resolve()
    if any(real.is_relative_to(result.resolve()) for result in around.results):
        return
    for item in around.private:
        private = item.resolve()
        if real.is_relative_to(private) or private.is_relative_to(real):
            message = f"Module {module_id} declares to write {folder}, where the instance keeps its own data."
            raise StartRefused(Lack(Code.MODULE_ISOLATION, message, f"switchgear modules show {module_id}"))

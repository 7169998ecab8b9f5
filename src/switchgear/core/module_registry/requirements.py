"""Checks what a module requires: packages, binaries, files, variables, memory, isolation. Source: DESIGN 3, T010."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

from switchgear.domain.errors import Code
from switchgear.domain.stage import IsolationReport, Lack, ModuleDescription

_MIB = 1 << 20


def first_lack(module: ModuleDescription, environment: Mapping[str, str], isolation: IsolationReport) -> Lack | None:
    """Return the first thing that is missing, or None; looks afresh at every call, imports nothing."""
    if not isolation.allows(module.min_isolation):
        return Lack(
            Code.MODULE_ISOLATION,
            f"Module {module.id} demands isolation {module.min_isolation}; this host gives {isolation.level}.",
            "switchgear doctor",
        )
    for check in _CHECKS:
        lack = check(module.id, module.requires, environment)
        if lack is not None:
            return lack
    return None


def _packages(module_id: str, requires: Mapping[str, Any], environment: Mapping[str, str]) -> Lack | None:
    for text in requires.get("packages", ()):
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            return Lack(Code.MODULE_MISSING_PACKAGE, f"Module {module_id} requires {text!r}, which is no requirement.")
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        fix = requires.get("install") or f"pip install '{text}'"
        try:
            version = _version(requirement.name, _path_state())
        except importlib.metadata.PackageNotFoundError:
            message = f"Module {module_id} needs package {requirement.name}, which is not installed."
            return Lack(Code.MODULE_MISSING_PACKAGE, message, fix)
        if not requirement.specifier.contains(version, prereleases=True):
            message = f"Module {module_id} needs {text}; installed is {requirement.name} {version}."
            return Lack(Code.MODULE_MISSING_PACKAGE, message, fix)
    return None


def _path_state() -> tuple[int, ...]:
    """Changes when a package is installed or removed."""
    found: list[int] = []
    for folder in sys.path:
        with contextlib.suppress(OSError):
            found.append(os.stat(folder or ".").st_mtime_ns)
    return tuple(found)


@lru_cache(maxsize=256)
def _version(name: str, _state: tuple[int, ...]) -> str:
    return importlib.metadata.version(name)


def _binaries(module_id: str, requires: Mapping[str, Any], environment: Mapping[str, str]) -> Lack | None:
    for name in requires.get("binaries", ()):
        if shutil.which(name, path=environment.get("PATH", os.defpath)) is None:
            message = f"Module {module_id} needs the program {name}, which is not on PATH."
            return Lack(Code.MODULE_MISSING_BINARY, message, requires.get("install") or f"apt-get install {name}")
    return None


def _files(module_id: str, requires: Mapping[str, Any], environment: Mapping[str, str]) -> Lack | None:
    for file in requires.get("files", ()):
        path = Path(file["path"])
        fix = file.get("install") or requires.get("install") or None
        try:
            stat = path.stat()
            wanted = file.get("sha256")
            if wanted and _sha256(str(path), stat.st_mtime_ns, stat.st_size) != wanted.lower():
                message = f"Module {module_id} needs {path} with SHA-256 {wanted}; the file there is another one."
                return Lack(Code.MODULE_MISSING_FILE, message, fix)
        except OSError as error:
            message = f"Module {module_id} needs the file {path}: {error.strerror}."
            return Lack(Code.MODULE_MISSING_FILE, message, fix)
    return None


@lru_cache(maxsize=64)
def _sha256(path: str, _mtime_ns: int, _size: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _variables(module_id: str, requires: Mapping[str, Any], environment: Mapping[str, str]) -> Lack | None:
    for name in requires.get("environment", ()):
        if name not in environment:
            message = f"Module {module_id} needs the environment variable {name}, which is not set."
            return Lack(Code.MODULE_MISSING_ENVIRONMENT, message, f"export {name}=...")
    return None


def _memory(module_id: str, requires: Mapping[str, Any], environment: Mapping[str, str]) -> Lack | None:
    needed = int(requires.get("memory_mb", 0))
    available = available_memory_mb()
    if available is None or available >= needed:
        return None
    message = (
        f"Module {module_id} needs {needed} MiB of free memory; {available} MiB are available. "
        "End other programs, or choose another module for the stage."
    )
    return Lack(Code.MODULE_MISSING_MEMORY, message)


def available_memory_mb() -> int | None:
    """Memory that can be had without swapping, in MiB; None where there is no /proc."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) // 1024
    except OSError:
        return None
    return None


_CHECKS: tuple[Callable[[str, Mapping[str, Any], Mapping[str, str]], Lack | None], ...] = (
    _packages,
    _binaries,
    _files,
    _variables,
    _memory,
)

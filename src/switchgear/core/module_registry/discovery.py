"""Finds what installed packages offer, without importing any of it. Source: DESIGN 3 (discovery, module lock)."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from switchgear.sdk.module_code import code_files

MODULES: Final = "switchgear.modules"
PIPELINES: Final = "switchgear.pipelines"


@dataclass(frozen=True, slots=True)
class Offer:
    """One entry point: a module's or pipeline's name, and who offers it."""

    name: str
    value: str
    distribution: str
    version: str
    is_editable: bool
    rivals: tuple[str, ...] = ()  #: other distributions that offer the same name

    @property
    def key(self) -> str:
        """Identity for the cache of descriptions."""
        return f"{self.name}={self.value} {self.distribution}=={self.version}"


def offers(group: str) -> dict[str, Offer]:
    """Return every entry point of *group* by name; a name that several packages offer names its rivals."""
    importlib.invalidate_caches()
    found: dict[str, list[Offer]] = {}
    origins: dict[int, tuple[str, str, bool]] = {}  # metadata is parsed at every access: once is enough
    entries = importlib.metadata.entry_points(group=group)
    for entry in entries:
        if entry.dist is None:
            continue
        origin = origins.get(id(entry.dist))
        if origin is None:
            metadata = entry.dist.metadata
            origin = (metadata["Name"], metadata["Version"], _is_editable(entry.dist))
            origins[id(entry.dist)] = origin
        found.setdefault(entry.name, []).append(Offer(entry.name, entry.value, *origin))
    result: dict[str, Offer] = {}
    for key, candidates in found.items():
        first, *others = sorted(candidates, key=lambda offer: offer.distribution)
        rivals = tuple(f"{offer.distribution} {offer.version}" for offer in others)
        result[key] = Offer(first.name, first.value, first.distribution, first.version, first.is_editable, rivals)
    return dict(sorted(result.items()))


def _is_editable(distribution: importlib.metadata.Distribution) -> bool:
    """Whether it is an editable install (PEP 610)."""
    try:
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return False
    return bool(origin.get("dir_info", {}).get("editable", False))


def fix_for_missing(offer: Offer, package: str) -> str:
    """The line that installs *package*: the extra of the offering distribution that has it, else its own name."""
    try:
        declared = importlib.metadata.distribution(offer.distribution).requires or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    for text in declared:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        extra = re.search(r"""extra == ["']([\w.-]+)["']""", text)
        if extra and _plain(requirement.name) == _plain(package):
            return f"pip install '{offer.distribution}[{extra[1]}]'"
    return f"pip install {package}"


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


def installed_signature() -> str:
    """Changes whenever a distribution is installed, removed or upgraded, or Python itself; for the cache."""
    digest = hashlib.sha256(sys.version.encode())
    for folder in sys.path:
        try:
            names = sorted(name for name in os.listdir(folder or ".") if name.endswith((".dist-info", ".egg-info")))
        except OSError:
            continue
        digest.update("\0".join([folder, *names]).encode())
    return digest.hexdigest()


#: (path, mtime in ns, size) of each file.
Signature = tuple[tuple[str, int, int], ...]


def signature_of(files: list[str]) -> Signature:
    """State of *files*, cheap enough for every look; a file that is gone has size -1."""
    found: list[tuple[str, int, int]] = []
    for name in files:
        try:
            stat = os.stat(name)
            found.append((name, stat.st_mtime_ns, stat.st_size))
        except OSError:
            found.append((name, 0, -1))
    return tuple(found)


def code_signature(roots: tuple[str, ...]) -> Signature:
    """State of all files of a module's code; changes when one is added, removed or written."""
    return signature_of([str(path) for path in code_files(roots)])


def source_of(offer: Offer) -> tuple[str, ...]:
    """Files and folders of the top-level package that *offer* is in, found without an import; () when they are not."""
    top = re.split(r"[.:]", offer.value)[0].strip()
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return ()
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(sorted(spec.submodule_search_locations))
    return (spec.origin,) if spec.has_location and spec.origin else ()


@lru_cache(maxsize=1)
def sdk_signature() -> Signature:
    """State of the SDK's own files: descriptions depend on them."""
    folder = Path(__file__).parents[2] / "sdk"
    return signature_of(sorted(str(path) for path in folder.rglob("*.py")))

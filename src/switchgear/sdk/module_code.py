"""Which files are a module's code, and their digest for the module lock. Source: DESIGN 3 (module lock), ADR 0009.

A module's code is its own package, data files included, and what it imports from the distribution that offers it,
directly or not, also inside functions. The imports are read from the sources: what another module of the same process
happened to import makes no difference, so that the digest is the same in any order and on any machine.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Final

_NOT_CODE: Final = ("__pycache__",)
#: The engine's side of the border: contracts say when it changes, no lock.
_ENGINE: Final = ("switchgear", "switchgear.sdk")


def code_roots(*names: str, packages: Iterable[str] = ()) -> list[Path]:
    """Return the files and folders that hold the code of the imported modules *names*.

    Args:
        names: For each the package's own folder, else the folder of the package around the file, else the file.
        packages: Further top-level packages of the same distribution; what is imported from them counts as well.
    """
    roots: set[Path] = set()
    for name in names:
        found = sys.modules[name]
        if hasattr(found, "__path__"):
            roots |= {Path(folder) for folder in found.__path__}
        elif "." in name:
            roots |= {Path(folder) for folder in sys.modules[name.rpartition(".")[0]].__path__}
        elif found.__file__:
            roots.add(Path(found.__file__))
    own = {_top(name) for name in names} | set(packages)
    shared = {file for file in _imported(names, own) if roots.isdisjoint([file, *file.parents])}
    return sorted(roots | shared)


def packages_of(distribution: importlib.metadata.Distribution | None) -> set[str]:
    """Names of the top-level packages and modules of a distribution, as far as its metadata says."""
    files = (distribution.files if distribution is not None else None) or []
    return {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py"}


def _imported(names: Iterable[str], own: set[str]) -> set[Path]:
    files: set[Path] = set()
    seen: set[str] = set()
    wanted = list(names)
    while wanted:
        name = wanted.pop()
        if name in seen or _top(name) not in own or name in _ENGINE or name.startswith("switchgear.sdk."):
            continue
        seen.add(name)
        spec = _spec(name)
        if spec is None or not spec.has_location or not spec.origin:
            continue
        files.add(Path(spec.origin))
        wanted += [name.rpartition(".")[0], *_imports(spec.origin, name, spec.submodule_search_locations is not None)]
    return files


def _top(name: str) -> str:
    return name.partition(".")[0]


@lru_cache(maxsize=4096)
def _spec(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it; None when the name is none, such as that of a function."""
    if name in sys.modules:
        return sys.modules[name].__spec__
    parent = name.rpartition(".")[0]
    if not parent:
        return PathFinder.find_spec(name)
    above = _spec(parent)
    if above is None or above.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, above.submodule_search_locations)


@lru_cache(maxsize=1024)
def _imports(file: str, name: str, is_package: bool) -> tuple[str, ...]:
    """Names that a source file imports anywhere; what it takes from a module may be a module itself."""
    found: list[str] = []
    with contextlib.suppress(OSError, SyntaxError, ValueError):  # no source, as in an extension: it imports nothing
        for node in ast.walk(ast.parse(Path(file).read_bytes())):
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = name if is_package else name.rpartition(".")[0]
                with contextlib.suppress(ImportError):  # a relative import that leaves the package fails when it runs
                    base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
                    found += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return tuple(found)


def code_files(roots: Iterable[str | Path]) -> Iterator[Path]:
    """Yield everything that counts as code or data in and below *roots*, in a fixed order."""
    for root in map(Path, roots):
        if root.is_file():
            yield root
            continue
        for folder, folders, files in os.walk(root):
            folders[:] = sorted(name for name in folders if name not in _NOT_CODE)
            yield from (Path(folder, name) for name in sorted(files) if not name.endswith(".pyc"))


def code_digest(roots: Iterable[str | Path]) -> str:
    """SHA-256 over names and bytes of a module's code and data files, hexadecimal; "" without files.

    Names begin at the top-level package: where it is installed makes no difference.
    """
    named = []
    for root in map(Path, roots):
        place = _place(root)
        named += [(file.relative_to(place).as_posix(), file) for file in code_files([root])]
    digest = hashlib.sha256()
    for name, file in sorted(named):
        data = file.read_bytes()
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest() if named else ""


def _place(root: Path) -> Path:
    """The folder in which the top-level package around *root* is."""
    folder = root.parent
    while (folder / "__init__.py").exists() and folder != folder.parent:
        folder = folder.parent
    return folder

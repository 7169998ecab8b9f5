"""Installs the tiny plug-in: a copy of its package and the metadata that a package installer would write."""

import contextlib
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

_SOURCE: Final = Path(__file__).parent / "tiny" / "switchgear_tiny"

#: Module id -> class. Every stage has a default, a visibly different alternative, a faulty and an inline one.
MODULES: Final[Mapping[str, str]] = {
    "load-text": "switchgear_tiny.loads:LoadText",
    "load-other": "switchgear_tiny.loads:LoadOther",
    "load-faulty": "switchgear_tiny.faulty:LoadFaulty",
    "load-inline": "switchgear_tiny.inline:LoadInline",
    "upper-text": "switchgear_tiny.upper_text:UpperText",
    "upper-other": "switchgear_tiny.upper_other:UpperOther",
    "upper-faulty": "switchgear_tiny.faulty:UpperFaulty",
    "upper-faulty-inline": "switchgear_tiny.faulty:UpperFaultyInline",
    "upper-inline": "switchgear_tiny.inline:UpperInline",
    "upper-old": "switchgear_tiny.uppers:UpperOld",
    "upper-secret": "switchgear_tiny.uppers:UpperSecret",
    "upper-nobinary": "switchgear_tiny.uppers:UpperNoBinary",
    "upper-nopackage": "switchgear_tiny.uppers:UpperNoPackage",
    "upper-nofile": "switchgear_tiny.uppers:UpperNoFile",
    "upper-environment": "switchgear_tiny.uppers:UpperEnvironment",
    "upper-nomemory": "switchgear_tiny.uppers:UpperNoMemory",
    "upper-sandboxed": "switchgear_tiny.uppers:UpperSandboxed",
    "upper-unguaranteed": "switchgear_tiny.uppers:UpperUnguaranteed",
    "upper-two": "switchgear_tiny.uppers:UpperTwo",
    "upper-misfit": "switchgear_tiny.uppers:UpperMisfit",
    "upper-importerror": "switchgear_tiny.broken_import:UpperText",
    "count-words": "switchgear_tiny.counts:CountWords",
    "count-other": "switchgear_tiny.counts:CountOther",
    "count-faulty": "switchgear_tiny.faulty:CountFaulty",
    "count-inline": "switchgear_tiny.inline:CountInline",
    "check-count": "switchgear_tiny.checks:CheckCount",
    "check-other": "switchgear_tiny.checks:CheckOther",
    "check-faulty": "switchgear_tiny.faulty:CheckFaulty",
    "check-inline": "switchgear_tiny.inline:CheckInline",
    "send-file": "switchgear_tiny.sends:SendFile",
    "send-other": "switchgear_tiny.sends:SendOther",
    "send-faulty": "switchgear_tiny.faulty:SendFaulty",
    "send-inline": "switchgear_tiny.inline:SendInline",
}

#: Installed only when a test asks for it: importing it takes a minute.
SLOW: Final[Mapping[str, str]] = {"upper-slowimport": "switchgear_tiny.slow_import:UpperText"}


def install(
    folder: Path, *, modules: Mapping[str, str] = MODULES, without: Collection[str] = (), version: str = "1.0.0"
) -> Path:
    """Install the plug-in with its pipeline `tiny` below *folder*.

    Args:
        folder: Any folder of the test; the plug-in goes to `folder/site`.
        modules: Entry points to offer; add `SLOW` for the one that hangs at import.
        without: Module ids to leave out.
        version: Version of the distribution `switchgear-tiny`.

    Returns:
        The folder to put on PYTHONPATH (or `sys.path`).
    """
    site = folder / "site"
    shutil.copytree(_SOURCE, site / "switchgear_tiny", ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    offered = {name: target for name, target in modules.items() if name not in without}
    write_distribution(site, "switchgear-tiny", version, offered, {"tiny": "switchgear_tiny.contracts:PIPELINE"})
    return site


def write_distribution(
    site: Path, name: str, version: str, modules: Mapping[str, str], pipelines: Mapping[str, str] | None = None
) -> Path:
    """Write (or overwrite) the metadata of an installed distribution; returns its `.dist-info` folder."""
    for old in site.glob(f"{name.replace('-', '_')}-*.dist-info"):
        shutil.rmtree(old)
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = {"switchgear.modules": modules, "switchgear.pipelines": pipelines or {}}
    lines: list[str] = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{key} = {target}" for key, target in entries.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return info


def change_code(site: Path, package: str = "upper_text", line: str = "# changed") -> None:
    """Change the code of one sub-package of the plug-in, as an upgrade would."""
    file = site / "switchgear_tiny" / package / "__init__.py"
    file.write_text(f"{file.read_text()}\n{line}\n")


@contextlib.contextmanager
def known_modules(cache: Path, known: Path) -> Iterator[None]:
    """Give an instance what the one before learnt about modules, so that it describes none again.

    Args:
        cache: The instance's own, not there yet.
        known: Shared by all whose plug-in is the same folder; made by the first of them, at its end.
    """
    if known.exists():
        shutil.copytree(known, cache)
    yield
    if cache.exists() and not known.exists():
        made = cache.with_name("learnt")
        shutil.copytree(cache, made)
        with contextlib.suppress(OSError):  # another worker was faster
            made.rename(known)

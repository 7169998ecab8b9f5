"""Make the virtual environment that `make` works in; says at once what is missing. Standard library only.

Usage: python3 tools/environment.py {runtime|test}
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
INSTALLER = "uv==0.13.9"


def main(kind: str) -> int:
    """Install what *kind* names into .venv unless it is there already; return an exit code."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        better = next((name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name)), None)
        hint = f"run: make {kind} PYTHON={better}" if better else "install Python 3.11 or newer"
        return _stop(f"Python {found} is too old; Switchgear needs 3.11 or newer: {hint}.")
    lock = ROOT / "requirements" / f"{kind}.txt"
    wanted = _fingerprint(kind, lock)
    stamp = VENV / f".{kind}.stamp"
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return 0
    if not PYTHON.exists():
        _say("1/3  making the virtual environment .venv")
        made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
        if made.returncode:
            shutil.rmtree(VENV, ignore_errors=True)
            return _stop(
                "Python cannot make virtual environments here; on Debian or Ubuntu: apt-get install python3-venv."
            )
    _say("2/3  installing the locked packages (about 150 MB the first time)")
    steps = (
        [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", INSTALLER],
        [str(PYTHON), "-m", "uv", "pip", "install", "--compile-bytecode", "--require-hashes", "-r", str(lock)],
        [str(PYTHON), "-m", "uv", "pip", "install", "--quiet", "--no-deps", "-e", str(ROOT)],
    )
    for step in steps:
        if subprocess.run(step, check=False, env={**os.environ, "VIRTUAL_ENV": str(VENV)}).returncode:
            return _stop(
                "Installing failed; the lines above say why. Is the network there? Then run the command again."
            )
    stamp.write_text(wanted)
    _say("3/3  ready")
    return 0


def _fingerprint(kind: str, lock: Path) -> str:
    parts = (lock.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), sys.version.encode())
    return f"{kind} " + hashlib.sha256(b"\0".join(parts)).hexdigest()


def _say(text: str) -> None:
    print(f"switchgear: {text}", file=sys.stderr, flush=True)


def _stop(text: str) -> int:
    _say(text)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""What a worker of level L2 may still reach: its packages, its scratch folder, what the module declares; no sockets.

At L3 it also loses calls and rights that no reader of documents needs. Applied in the worker after the fork and before
the module is opened. Source: RELIABILITY 4.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from switchgear.sdk.host import landlock, measures, seccomp
from switchgear.sdk.host.landlock import CHANGE, READ, READ_DIR, READ_FILE, WRITE_FILE

#: What programs and libraries need of any system: code, fonts, languages, times, the machine's size.
_SYSTEM: Final = (
    *("/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/lib", "/lib32", "/lib64", "/usr/share"),
    *("/usr/local/lib", "/usr/local/lib64", "/usr/local/share", "/nix/store", "/gnu/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload"),
    *("/etc/fonts", "/var/cache/fontconfig", "/etc/locale.alias", "/etc/localtime", "/etc/timezone", "/etc/mime.types"),
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/filesystems"),
    *("/sys/devices/system/cpu", "/sys/devices/system/node", "/sys/fs/cgroup"),
)
#: And of the network: names, certificates.
_NETWORK: Final = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services"),
    *("/etc/protocols", "/etc/ssl", "/etc/pki", "/etc/ca-certificates"),
)
_DEVICES: Final = (
    *(("/dev/null", READ_FILE | WRITE_FILE), ("/dev/zero", READ_FILE), ("/dev/full", READ_FILE | WRITE_FILE)),
    *(("/dev/random", READ_FILE), ("/dev/urandom", READ_FILE)),
)
#: Folders that hold the whole system beside the interpreter: what is needed of them is in the list above.
_SHARED_PREFIXES: Final = frozenset({"/", "/usr", "/usr/local"})


@dataclass(frozen=True)
class Enclosure:
    """What one module may reach beside what every module may; paths are absolute.

    Attributes:
        reads: Files and folders that it declared to read: models, programs.
        writes: Folders that it declared to write.
        private: What stays hidden even where a folder around it may be read.
        network: Whether it declared to use the network.
        strict: Whether it is to be held as at level L3.
    """

    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    private: Sequence[str] = ()
    network: bool = False
    strict: bool = False


def enclose(what: Enclosure, scratch: Path) -> str:
    """Give up everything else, in this process and in all that it starts; returns "" or why it is not held.

    Where the kernel offers more than the level needs, that is taken too: no TCP beside no sockets, signals kept in.
    """
    # The folder of this process is a new one for the kernel when nobody holds it: the rule would be lost.
    os.open("/proc/self", os.O_PATH | os.O_CLOEXEC)
    offered = landlock.version()
    try:
        landlock.restrict(
            rules(what, scratch),
            refuse_tcp=not what.network and offered >= landlock.TCP_SINCE,
            keep_signals_in=offered >= landlock.SIGNALS_SINCE,
        )
    except landlock.Refused as error:
        return str(error)
    trouble = measures.drop_capabilities() if what.strict else ""
    return trouble or seccomp.refuse(
        sockets=not what.network, truncate=offered < landlock.TRUNCATE_SINCE, dangerous=what.strict
    )


def rules(what: Enclosure, scratch: Path) -> list[tuple[str, int]]:
    """Paths with the rights on them."""
    private = tuple(map(os.path.realpath, what.private))
    reads = (*what.reads, "/proc/self")  # which is another folder for each process
    own = {rule for path in reads for rule in _around(os.path.realpath(path), private)}
    allowed = sorted(own | _of_every_module(private, what.network))
    return [*allowed, *_DEVICES, (str(scratch), CHANGE), *((path, CHANGE) for path in what.writes)]


def prepare(what: Enclosure) -> None:
    """Look up what every module may reach, once for all workers that are forked from this process."""
    _of_every_module(tuple(map(os.path.realpath, what.private)), what.network)


@cache
def _of_every_module(private: tuple[str, ...], network: bool) -> frozenset[tuple[str, int]]:
    readable = [*_SYSTEM, *(_NETWORK if network else ())]
    allowed = {rule for path in readable for rule in _around(os.path.realpath(path), private)}
    for path in map(os.path.realpath, _python()):  # may lie inside what is private: an environment in the home
        around = [hidden for hidden in private if path == hidden or not _is_below(path, hidden)]
        allowed.update(_around(path, around))
    return frozenset(allowed)


def _python() -> Iterator[str]:
    """Interpreter, standard library, packages, and whatever else the module search path names."""
    yield sys.executable
    for prefix in {sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix}:
        if os.path.realpath(prefix) not in _SHARED_PREFIXES:
            yield prefix
    yield from (path for path in sys.path if path)
    for name in list(sys.modules):  # editable installs lie elsewhere: what was imported may be read again
        yield from getattr(sys.modules.get(name), "__path__", ()) if "." not in name else ()


def _around(path: str, private: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Allow to read *path* but for what is private below it: Landlock cannot take away what lies inside."""
    if any(_is_below(path, hidden) for hidden in private):
        return
    if not any(_is_below(hidden, path) for hidden in private):
        yield path, READ
        return
    yield path, READ_DIR  # imports list their folders
    try:
        with os.scandir(path) as entries:
            inside = [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return
    for each in inside:
        yield from _around(each, private)


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")

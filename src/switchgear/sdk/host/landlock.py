"""Landlock: a process gives up, for itself and all that it starts, what it is not allowed by name. Linux system calls.

It cannot be taken back or widened. Descriptors that are open already go on working. Source: RELIABILITY 4,
https://docs.kernel.org/userspace-api/landlock.html.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable
from functools import cache
from typing import Final

# The numbers are the same on every machine that Linux gave them to.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

#: Rights on files and folders.
EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
_REMOVE: Final = 1 << 4 | 1 << 5
_MAKE_FOLDER_FILE_SOCKET_FIFO_LINK: Final = 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10 | 1 << 12
_MOVE: Final = 1 << 13
_TRUNCATE: Final = 1 << 14
_IOCTL: Final = 1 << 15
#: Look, and run programs.
READ: Final = EXECUTE | READ_FILE | READ_DIR
#: Look and change, but run nothing that was put there.
CHANGE: Final = READ_FILE | READ_DIR | WRITE_FILE | _REMOVE | _MAKE_FOLDER_FILE_SOCKET_FIFO_LINK | _MOVE | _TRUNCATE
_OF_PLAIN_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE | _IOCTL

#: Versions that brought the right to truncate, to refuse TCP, and to keep signals in.
TRUNCATE_SINCE: Final = 3
TCP_SINCE: Final = 4
SIGNALS_SINCE: Final = 6
_IOCTL_SINCE: Final = 5
_TCP_BIND_CONNECT: Final = 3
_SCOPE_ABSTRACT_SOCKETS_SIGNALS: Final = 3


class Refused(OSError):
    """The kernel does not do it; the text says what."""


def version() -> int:
    """The version of Landlock that the kernel offers; 0 without it."""
    try:
        return _call(_CREATE_RULESET, "ask for the version", None, 0, _ASK_VERSION)
    except Refused:
        return 0


def require(since: int) -> str:
    """Return "" when the kernel offers at least version *since*, else why not."""
    try:
        found = _call(_CREATE_RULESET, "ask for the version", None, 0, _ASK_VERSION)
    except Refused as error:
        return str(error)
    return "" if found >= since else f"the kernel has version {found} of Landlock; version {since} brought it"


def restrict(
    rules: Iterable[tuple[str, int]] | None = None, *, refuse_tcp: bool = False, keep_signals_in: bool = False
) -> None:
    """Restrict this process; needs `no_new_privileges` (or an administrator).

    Args:
        rules: Paths with the rights on what lies at and below them; paths that do not exist are left out. Everything
            else is refused. None restricts no files.
        refuse_tcp: Bind and connect no TCP socket.
        keep_signals_in: Signal, and reach by abstract sockets, only processes that are restricted by this call too.

    Raises:
        Refused: The kernel does not offer it.
    """
    offered = version()
    files = 0 if rules is None else _every_right(offered)
    net = _TCP_BIND_CONNECT if refuse_tcp else 0
    scoped = _SCOPE_ABSTRACT_SOCKETS_SIGNALS if keep_signals_in else 0
    size = 24 if offered >= SIGNALS_SINCE else 16 if offered >= TCP_SINCE else 8
    attributes = struct.pack("QQQ", files, net, scoped)
    if any(attributes[size:]):
        raise Refused(require(SIGNALS_SINCE if scoped else TCP_SINCE))
    ruleset = _call(_CREATE_RULESET, "make a ruleset", attributes[:size], size, 0)
    try:
        for path, rights in rules or ():
            _allow(ruleset, path, rights & files)
        _call(_RESTRICT_SELF, "restrict itself", ruleset, 0)
    finally:
        os.close(ruleset)


def _every_right(offered: int) -> int:
    rights = (1 << 13) - 1
    for since, right in ((2, _MOVE), (TRUNCATE_SINCE, _TRUNCATE), (_IOCTL_SINCE, _IOCTL)):
        rights |= right if offered >= since else 0
    return rights


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_PLAIN_FILES
        _call(_ADD_RULE, f"allow {path}", ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)


def _call(number: int, what: str, *arguments: int | bytes | None) -> int:
    if sys.platform != "linux":
        raise Refused(f"{sys.platform} has no Landlock")
    passed = [ctypes.c_long(item) if isinstance(item, int) else ctypes.c_char_p(item) for item in arguments]
    answer = int(_library().syscall(ctypes.c_long(number), *passed))
    if answer < 0:
        raise Refused(f"Landlock refused to {what}: {os.strerror(ctypes.get_errno())}")
    return answer


@cache
def _library() -> ctypes.CDLL:
    """The C library: opening it takes longer than a rule."""
    return ctypes.CDLL(None, use_errno=True)

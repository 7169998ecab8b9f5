"""A filter of system calls: no way to a new socket, and none to the machine. Linux on x86-64 and 64-bit ARM.

The call fails with EPERM; the process goes on. Pairs of sockets that know only each other (`socketpair`) are left,
event loops need one. Source: RELIABILITY 4, https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_LOAD: Final = 0x20  # a word of the call's description
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_IF_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_FIRST_ARGUMENT_AT: Final = 16
_ALLOW: Final = 0x7FFF0000
_FAIL: Final = 0x00050000
#: Numbers from here on are those of the x32 ABI, which reaches the same calls.
_X32: Final = 0x40000000
#: What `clone` may not be asked for: namespaces of every kind. `clone3` hides it in memory: it is not there, and
#: programs fall back to `clone`.
_NEW_NAMESPACES: Final = 0x7E020000
CLONE3: Final = 435

#: What reaches other processes, the kernel or the machine, or widens what an attacker can try; none is needed to read
#: a document. Numbers on x86-64 and on 64-bit ARM; 0 where the machine does not have it.
DANGEROUS: Final[Mapping[str, tuple[int, int]]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "fanotify_init": (300, 262),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "syslog": (103, 116),
    "iopl": (172, 0),
    "ioperm": (173, 0),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "vhangup": (153, 58),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}


class Machine(NamedTuple):
    """Numbers of calls on one kind of machine."""

    audit: int  #: what the kernel calls it
    column: int  #: of `DANGEROUS`
    socket: int
    truncate: int
    clone: int
    io_uring_setup: int = 425  #: opens sockets without the call


_MACHINES: Final = {
    "x86_64": Machine(0xC000003E, 0, socket=41, truncate=76, clone=56),
    "aarch64": Machine(0xC00000B7, 1, socket=198, truncate=45, clone=220),
}


def machine() -> Machine | None:
    """Numbers of this machine; None when there are none here."""
    is_known = sys.platform == "linux" and sys.maxsize > 2**32
    return _MACHINES.get(os.uname().machine) if is_known else None


def refuse(*, sockets: bool = False, truncate: bool = False, dangerous: bool = False) -> str:
    """Refuse calls from here on; needs `no_new_privileges`. Returns "" or why it did not work.

    Args:
        sockets: New sockets of every family.
        truncate: To shorten files by their path, which Landlock cannot refuse before version 3.
        dangerous: Calls that no reader of documents needs, and new namespaces.
    """
    known = machine()
    if known is None:
        return f"there is no filter for {sys.platform} on {os.uname().machine}"
    refused = refused_calls(known, sockets=sockets, truncate=truncate, dangerous=dangerous)
    program = _program(known, refused, dangerous=dangerous)
    code = ctypes.create_string_buffer(program, len(program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_SECCOMP, _MODE_FILTER, described, 0, 0) == 0:
        return ""
    return f"the kernel refused the filter: {os.strerror(ctypes.get_errno())}"


def refused_calls(
    known: Machine, *, sockets: bool = False, truncate: bool = False, dangerous: bool = False
) -> list[int]:
    """Numbers of the calls that `refuse` refuses whatever they ask for."""
    refused = {known.socket, known.io_uring_setup} if sockets else set()
    refused |= {known.truncate} if truncate else set()
    refused |= {numbers[known.column] for numbers in DANGEROUS.values()} - {0} if dangerous else set()
    return sorted(refused)


def _program(known: Machine, refused: list[int], *, dangerous: bool) -> bytes:
    """Instructions of eight bytes; the steps name where they go if the test holds and if it does not, "" being on."""
    steps = [
        (_LOAD, _MACHINE_AT, "", ""),
        (_IF_EQUAL, known.audit, "", "refuse"),  # another machine's calls: none
        (_LOAD, _NUMBER_AT, "", ""),
        (_IF_AT_LEAST, _X32, "refuse", ""),
        *((_IF_EQUAL, number, "refuse", "") for number in refused),
    ]
    if dangerous:
        steps += [
            (_IF_EQUAL, CLONE3, "absent", ""),
            (_IF_EQUAL, known.clone, "", "allow"),
            (_LOAD, _FIRST_ARGUMENT_AT, "", ""),
            (_IF_ANY_BIT, _NEW_NAMESPACES, "refuse", ""),
        ]
    ends = {"allow": _ALLOW, "refuse": _FAIL | errno.EPERM, "absent": _FAIL | errno.ENOSYS}
    places = {name: len(steps) + index for index, name in enumerate(ends)}

    def jump(place: str, index: int) -> int:  # counted from the next instruction
        return places[place] - index - 1 if place else 0

    code = [struct.pack("HBBI", what, jump(yes, at), jump(no, at), k) for at, (what, k, yes, no) in enumerate(steps)]
    return b"".join([*code, *(struct.pack("HBBI", _RETURN, 0, 0, value) for value in ends.values())])

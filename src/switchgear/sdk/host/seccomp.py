"""A filter of system calls that leaves a process no way to a new socket. Linux on x86-64 and 64-bit ARM.

The call fails with EPERM; the process goes on. Pairs of sockets that know only each other (`socketpair`) are left,
event loops need one. Source: RELIABILITY 4, https://docs.kernel.org/userspace-api/seccomp_filter.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import Final, NamedTuple

_PR_SET_SECCOMP: Final = 22
_MODE_FILTER: Final = 2
_LOAD: Final = 0x20  # a word of the call's description
_IF_EQUAL: Final = 0x15
_IF_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_ALLOW: Final = 0x7FFF0000
_REFUSE: Final = 0x00050000 | errno.EPERM
#: Numbers from here on are those of the x32 ABI, which reaches the same calls.
_X32: Final = 0x40000000


class _Machine(NamedTuple):
    audit: int  # what the kernel calls it
    socket: int
    truncate: int
    io_uring_setup: int = 425  # opens sockets without the call


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, socket=41, truncate=76),
    "aarch64": _Machine(0xC00000B7, socket=198, truncate=45),
}


def refuse_sockets(*, refuse_truncate: bool = False) -> str:
    """Refuse new sockets of every family from here on; needs `no_new_privileges`. Returns "" or why it did not work.

    Args:
        refuse_truncate: Refuse to shorten files by their path too, which Landlock cannot before version 3.
    """
    machine = _MACHINES.get(os.uname().machine)
    if sys.platform != "linux" or machine is None or sys.maxsize < 2**32:
        return f"there is no filter for {sys.platform} on {os.uname().machine}"
    refused = [machine.socket, machine.io_uring_setup, *([machine.truncate] if refuse_truncate else [])]
    program = _program(machine.audit, refused)
    code = ctypes.create_string_buffer(program, len(program))
    described = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code)))
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_PR_SET_SECCOMP, _MODE_FILTER, described, 0, 0) == 0:
        return ""
    return f"the kernel refused the filter: {os.strerror(ctypes.get_errno())}"


def _program(audit: int, refused: list[int]) -> bytes:
    """Instructions of eight bytes; jumps count instructions from the next one."""
    to_refusal = len(refused) + 1  # from the first test of the number: over the other tests and the allowance
    tests = [(_IF_AT_LEAST, to_refusal, 0, _X32)]
    tests += [(_IF_EQUAL, to_refusal - 1 - index, 0, number) for index, number in enumerate(refused)]
    instructions = [
        (_LOAD, 0, 0, _MACHINE_AT),
        (_IF_EQUAL, 0, to_refusal + 2, audit),  # another machine's calls: none
        (_LOAD, 0, 0, _NUMBER_AT),
        *tests,
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)

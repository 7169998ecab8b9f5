"""The private pipe between engine and module process: length-prefixed frames, a JSON header and raw bytes.

Nothing is pickled; descriptors travel beside the first byte of a frame. Source: DESIGN 5.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

#: Length of the header, length of the body.
PREFIX: Final = struct.Struct(">IQ")
#: Longest header; values of documents travel in the body.
MAX_HEADER_BYTES: Final = 4 * 1024 * 1024
_CHUNK: Final = 1 << 20


class FrameError(Exception):
    """What came over the pipe is no frame: the other side is broken."""


@dataclass(slots=True)
class Frame:
    """One message: `header` is plain JSON, `body` is raw bytes, `descriptors` are open files."""

    header: dict[str, Any]
    body: bytes = b""
    descriptors: list[int] = field(default_factory=list)


def pack(header: Mapping[str, Any], body_bytes: int = 0) -> bytes:
    """Return prefix and header; the body follows as it is."""
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")
    return PREFIX.pack(len(text), body_bytes) + text


def unpack_prefix(prefix: bytes | bytearray) -> tuple[int, int]:
    """Return the lengths of header and body.

    Raises:
        FrameError: The header is longer than any real one.
    """
    header_bytes, body_bytes = PREFIX.unpack(prefix)
    if header_bytes > MAX_HEADER_BYTES:
        raise FrameError(f"a header of {header_bytes} bytes")
    return header_bytes, body_bytes


def unpack_header(text: bytes | bytearray) -> dict[str, Any]:
    """Parse a header.

    Raises:
        FrameError: It is no JSON object.
    """
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("the header is no object")
    return header


def send(connection: socket.socket, header: Mapping[str, Any], body: bytes = b"") -> None:
    """Send one frame and wait until it is gone (child side)."""
    start = pack(header, len(body))
    if len(body) < _CHUNK:
        connection.sendall(start + body)
    else:
        connection.sendall(start)
        connection.sendall(body)


def receive(connection: socket.socket, most_descriptors: int = 2) -> Frame | None:
    """Wait for one frame (child side); None when the other side is gone."""
    prefix, descriptors = _first(connection, most_descriptors)
    if prefix is None:
        return None
    header_bytes, body_bytes = unpack_prefix(prefix)
    header = unpack_header(_exactly(connection, header_bytes))
    return Frame(header, bytes(_exactly(connection, body_bytes)) if body_bytes else b"", descriptors)


def _first(connection: socket.socket, most_descriptors: int) -> tuple[bytes | None, list[int]]:
    flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
    data, ancillary, _, _ = connection.recvmsg(PREFIX.size, socket.CMSG_SPACE(4 * most_descriptors), flags)
    descriptors = descriptors_of(ancillary)
    if not data:
        return None, []
    if len(data) < PREFIX.size:
        data += bytes(_exactly(connection, PREFIX.size - len(data)))
    return data, descriptors


def descriptors_of(ancillary: Sequence[tuple[int, int, bytes]]) -> list[int]:
    """Return the open files that came with a message."""
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found += struct.unpack(f"{len(data) // 4}i", data[: len(data) // 4 * 4])
    return found


def _exactly(connection: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    view, have = memoryview(data), 0
    while have < length:
        count = connection.recv_into(view[have:], min(_CHUNK, length - have))
        if not count:
            raise FrameError("the other side went away in the middle of a frame")
        have += count
    return data

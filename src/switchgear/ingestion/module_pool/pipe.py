"""The engine's end of a module process: frames without blocking the event loop, and what the module prints.

Source: DESIGN 5, RELIABILITY I23.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from switchgear.sdk.host.frames import PREFIX, Frame, FrameError, pack, unpack_header, unpack_prefix

_CHUNK: Final = 256 * 1024
#: What a module prints beyond this in one attempt is dropped.
MAX_PRINTED_BYTES: Final = 64 * 1024
#: What reading says when the other side is gone; of a socket that was closed here uvloop raises ValueError.
_GONE: Final = (OSError, ValueError)


class BodyTooLarge(Exception):
    """The other side announced a body beyond the cap; nothing of it was read."""

    def __init__(self, size: int) -> None:
        super().__init__(str(size))
        self.size = size


class Pipe:
    """One end of a socket pair; one reader and one writer at a time."""

    def __init__(self, connection: socket.socket, most_body_bytes: int) -> None:
        connection.setblocking(False)
        self._connection = connection
        self._most = most_body_bytes
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._users = 0
        self.is_closed = False

    async def send(
        self, header: Mapping[str, Any], parts: Sequence[bytes] = (), descriptors: Sequence[int] = ()
    ) -> None:
        """Send one frame; a process that is gone is noticed by the next `receive`."""
        with self._in_use():
            await self._send([pack(header, sum(map(len, parts))), *parts], descriptors)

    async def _send(self, buffers: Sequence[bytes], descriptors: Sequence[int]) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        with contextlib.suppress(OSError):
            while True:
                try:
                    sent = self._connection.sendmsg(buffers[:16], ancillary)
                    break
                except BlockingIOError:
                    await self._writable()
            for buffer in buffers:
                if sent < len(buffer):
                    await self._loop.sock_sendall(self._connection, memoryview(buffer)[sent:])
                sent = max(0, sent - len(buffer))

    async def _writable(self) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(self._connection, _wake, ready)
        try:
            await ready
        finally:
            self._loop.remove_writer(self._connection)

    async def receive(self) -> Frame | None:
        """Return the next frame; None when the other side is gone.

        Raises:
            BodyTooLarge: The body is beyond the cap.
            FrameError: What came is no frame.
        """
        with self._in_use():
            return await self._receive()

    async def _receive(self) -> Frame | None:
        if not await self._fill(PREFIX.size):
            return None
        header_bytes, body_bytes = unpack_prefix(self._buffer[: PREFIX.size])
        if body_bytes > self._most:
            raise BodyTooLarge(body_bytes)
        start = PREFIX.size + header_bytes
        if not await self._fill(start):
            return None
        header = unpack_header(self._buffer[PREFIX.size : start])
        body = await self._body(start, body_bytes)
        return None if body is None else Frame(header, body)

    async def _fill(self, length: int) -> bool:
        while len(self._buffer) < length:
            try:
                data = await self._loop.sock_recv(self._connection, _CHUNK)
            except _GONE:
                return False
            if not data:
                return False
            self._buffer += data
        return True

    async def _body(self, start: int, length: int) -> bytes | None:
        if len(self._buffer) >= start + length:
            body = bytes(self._buffer[start : start + length])
            del self._buffer[: start + length]
            return body
        whole = bytearray(length)
        have = len(self._buffer) - start
        whole[:have] = self._buffer[start:]
        self._buffer.clear()
        view = memoryview(whole)
        while have < length:
            try:
                count = await self._loop.sock_recv_into(self._connection, view[have:])
            except _GONE:
                return None
            if not count:
                return None
            have += count
        return bytes(whole)

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[None]:
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            if self.is_closed and not self._users:
                self._connection.close()

    def close(self) -> None:
        """Close this end; the process then ends by itself, and who waits here sees the end."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._users:  # the loop forgets a descriptor that is closed while somebody waits for it
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
        else:
            self._connection.close()


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


class Printed:
    """Drains what a process prints; keeps the first part of each attempt."""

    def __init__(self) -> None:
        self._read, self.write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_inheritable(self.write, False)
        self._loop = asyncio.get_running_loop()
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._loop.add_reader(self._read, self._drain)

    def _drain(self) -> None:
        try:
            data = os.read(self._read, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._read)
            return
        room = MAX_PRINTED_BYTES - self._size
        if room > 0:
            self._kept.append(data[:room])
        self._size += len(data)

    def give_away(self) -> None:
        """Close the writing end here: the process has its own."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def take(self) -> tuple[str, bool]:
        """Return what was printed since the last time, and whether a part of it was dropped."""
        self._drain_now()
        text = b"".join(self._kept).decode("utf-8", "replace")
        was_cut = self._size > MAX_PRINTED_BYTES
        self._kept.clear()
        self._size = 0
        return text, was_cut

    def _drain_now(self) -> None:
        for _ in range(4):
            before = self._size
            if self._read >= 0:
                self._drain()
            if self._size == before:
                return

    def close(self) -> None:
        """Stop listening."""
        self.give_away()
        if self._read >= 0:
            self._drain_now()
            self._loop.remove_reader(self._read)
            os.close(self._read)
            self._read = -1


__all__ = ["MAX_PRINTED_BYTES", "BodyTooLarge", "FrameError", "Pipe", "Printed"]

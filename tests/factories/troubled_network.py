"""A way to PostgreSQL that a test can make slow, swallow, or cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field


@dataclass
class TroubledNetwork:
    """Carries bytes between a port of this machine and PostgreSQL's socket.

    Attributes:
        socket_path: Where PostgreSQL listens.
        loop: What carries the bytes.
        delay_s: How long each piece is under way, in each direction.
        swallows: While it is set nothing arrives any more and nobody is told: a black hole.
        port: Where to connect to.
    """

    socket_path: str
    loop: asyncio.AbstractEventLoop
    delay_s: float = 0.0
    swallows: bool = False
    port: int = 0
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)
    _closing: bool = False
    _carrying: set[asyncio.Task[None]] = field(default_factory=set)

    def cut(self) -> None:
        """Reset every connection, as a router does that was switched off and on again."""

        async def cut() -> None:
            self._abort()

        asyncio.run_coroutine_threadsafe(cut(), self.loop).result(10)

    async def accept(self, listener: socket.socket) -> None:
        """Carry every connection until `close`.

        It looks for one every few milliseconds: a server of asyncio's loses, and never closes, what comes at its end.
        """
        while not self._closing:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                await asyncio.sleep(0.005)
                continue
            connection.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=connection)
            self._ends.add(writer)
            task = self.loop.create_task(self._serve(reader, writer))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

    async def close(self, accepting: asyncio.Task[None]) -> None:
        """Reset every connection, and wait until each is closed."""
        self._closing = True
        await accepting
        while self._carrying:
            self._abort()
            await asyncio.wait(self._carrying, timeout=0.02)

    def _abort(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        with contextlib.suppress(OSError):  # PostgreSQL takes nobody now
            there, back = await asyncio.open_unix_connection(self.socket_path)
            ends.add(back)
            self._ends.add(back)
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        for end in ends:
            end.transport.abort()
            with contextlib.suppress(OSError):
                await end.wait_closed()
        self._ends -= ends

    async def _carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        arriving = asyncio.create_task(self._arrive(under_way, target))
        data = b"?"
        while data:
            try:
                data = await source.read(1 << 16)
            except OSError:
                data = b""
            under_way.put_nowait((self.loop.time() + self.delay_s, data))
        await arriving

    async def _arrive(self, under_way: asyncio.Queue[tuple[float, bytes]], target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                at, data = await under_way.get()
                await asyncio.sleep(max(0.0, at - self.loop.time()))
                if not data:
                    break
                if not self.swallows:
                    target.write(data)
                    await target.drain()
        target.close()


@contextlib.contextmanager
def troubled_network(socket_path: str) -> Iterator[TroubledNetwork]:
    """A network on a thread of its own, without trouble yet."""
    ready: Future[tuple[TroubledNetwork, asyncio.Event]] = Future()

    async def carry() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            network = TroubledNetwork(socket_path, loop, port=listener.getsockname()[1])
            accepting = loop.create_task(network.accept(listener))
            ready.set_result((network, end))
            await end.wait()
            await network.close(accepting)

    thread = threading.Thread(target=lambda: asyncio.run(carry()), daemon=True)
    thread.start()
    network, end = ready.result(10)
    yield network
    network.loop.call_soon_threadsafe(end.set)
    thread.join(10)

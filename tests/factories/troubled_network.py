"""A way to PostgreSQL that a test can make slow, swallow, or cut."""

from __future__ import annotations

import asyncio
import contextlib
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

    def cut(self) -> None:
        """Reset every connection, as a router does that was switched off and on again."""

        async def abort() -> None:
            for end in self._ends:
                end.transport.abort()

        asyncio.run_coroutine_threadsafe(abort(), self.loop).result(10)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until an end closes."""
        ends = {writer}
        with contextlib.suppress(asyncio.CancelledError, OSError):  # the loop ends; PostgreSQL takes nobody now
            there, back = await asyncio.open_unix_connection(self.socket_path)
            ends.add(back)
            self._ends |= ends
            await asyncio.gather(self._carry(reader, back), self._carry(there, writer))
        self._ends -= ends
        for end in ends:
            end.transport.abort()
            with contextlib.suppress(OSError):
                await end.wait_closed()

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
        network, end = TroubledNetwork(socket_path, asyncio.get_running_loop()), asyncio.Event()
        async with await asyncio.start_server(network.serve, "127.0.0.1", 0) as server:
            network.port = server.sockets[0].getsockname()[1]
            ready.set_result((network, end))
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(carry()), daemon=True)
    thread.start()
    network, end = ready.result(10)
    yield network
    network.loop.call_soon_threadsafe(end.set)
    thread.join(10)

"""GET of the active configuration over 16 connections, authenticated, on a real server.

Usage: python -m benchmarks.hot_read [--requests 40000]
Beside it the same server program with an application that does nothing but send the same bytes. The client speaks
plain HTTP over sockets, because clients for people are slower than what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from benchmarks.tables import WARM_S, Figure, percentile, show
from switchgear.interface.cli.server_process import loop_factory

CONNECTIONS: Final = 16
_PATH: Final = "/api/v1/configurations/active"
_RAW: Final = """
import sys, uvicorn
body = bytes(int(sys.argv[2]))
headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]

async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

uvicorn.run(app, port=int(sys.argv[1]), log_level="critical", access_log=False, lifespan="off")
"""


class Connection(asyncio.Protocol):
    """Sends the same request again as soon as it is answered, and notes how long that took."""

    def __init__(self, request: bytes, left: Iterator[int], times: list[float]) -> None:
        self._request = request
        self._left = left
        self._times = times
        self._answer = bytearray()
        self._began = 0.0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def _ask(self) -> None:
        if next(self._left, None) is None:
            self._transport.close()
            self.over.set_result(None)
            return
        self._began = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Go on when the answer is there."""
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not separator or len(body) < int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        assert head.startswith(b"HTTP/1.1 200"), bytes(head)
        self._times.append(time.perf_counter() - self._began)
        self._answer.clear()
        self._ask()


async def measure(port: int, token: str, requests: int) -> tuple[float, float, int]:
    """Requests a second, the 99th percentile in milliseconds, and the length of an answer."""
    request = (
        f"GET {_PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\nAccept: */*\r\n\r\n"
    ).encode()
    times: list[float] = []
    left = iter(range(requests))
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    made = await asyncio.gather(
        *(
            loop.create_connection(lambda: Connection(request, left, times), "127.0.0.1", port)
            for _ in range(CONNECTIONS)
        )
    )
    await asyncio.gather(*(connection.over for _, connection in made))
    return requests / (time.perf_counter() - begin), percentile(times, 0.99) * 1000, len(times)


@contextlib.contextmanager
def raw_server(folder: Path, length: int) -> Iterator[int]:
    """The server program with an application that does nothing."""
    from factories.server import free_port

    port = free_port()
    with subprocess.Popen([sys.executable, "-c", _RAW, str(port), str(length)], cwd=folder) as process:
        try:
            yield port
        finally:
            process.terminate()


async def until_there(port: int) -> None:
    """Wait for a server."""
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)


async def main(requests: int) -> None:
    """Measure and print."""
    from factories.server import RunningServer

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = RunningServer(folder / "home", folder, {"PIPELINE": "invoice", "LOG_LEVEL": "warning"})
        server.start()
        try:
            await asyncio.sleep(WARM_S)
            port = int(server.url.rpartition(":")[2])
            await measure(port, server.token, 200)
            rate, p99_ms, _ = await measure(port, server.token, requests)
        finally:
            server.stop()
        with raw_server(folder, 6000) as raw_port:
            await until_there(raw_port)
            await measure(raw_port, "none", 200)
            raw_rate, raw_p99_ms, _ = await measure(raw_port, "none", requests)
    share = f"{rate / raw_rate:.2f} of raw"
    # The connections stand in a row: what counts is how many others are answered before the slowest of a hundred.
    others = f"{rate * p99_ms / 1000:.0f} answers by then; raw {raw_rate * raw_p99_ms / 1000:.0f}"
    show(
        f"GET {_PATH}, {CONNECTIONS} connections, authenticated, SQLite",
        [
            Figure("an application that only sends the bytes", f"{raw_rate:.0f}/s", f"p99 {raw_p99_ms:.1f} ms"),
            Figure("GET active configuration", f"{rate:.0f}/s", "", share, ">= 10000/s", rate / 10_000),
            Figure("its 99th percentile", f"{p99_ms:.1f} ms", others, "", "<= 3 ms", 3 / p99_ms),
        ],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=40_000)
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(given.requests))

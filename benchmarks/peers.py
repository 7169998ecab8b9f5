"""What peers cost for the same work, where they are installed (requirements/bench.txt).

Usage: python -m benchmarks.peers [--runs 200]
haystack-ai: five components that hand a text on, in one process, nothing stored. dbos: a workflow of five steps, each
recorded in SQLite, one at a time and 16 in flight. Beside them stands what Switchgear does in the same run of this
script: five inline stages with contracts enforced and every attempt recorded.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import pure_stages
from benchmarks.engine_overhead import engine
from benchmarks.tables import Figure, show

IN_FLIGHT = 16
HAYSTACK = """
import sys, time
from haystack import Pipeline, component

@component
class Step:
    @component.output_types(text=str)
    def run(self, text: str) -> dict:
        return {"text": text}

pipeline = Pipeline()
for number in range(5):
    pipeline.add_component(f"step{number}", Step())
for number in range(4):
    pipeline.connect(f"step{number}.text", f"step{number + 1}.text")
runs = int(sys.argv[1])
pipeline.run({"step0": {"text": "warm"}})
begin = time.perf_counter()
for _ in range(runs):
    pipeline.run({"step0": {"text": "a"}})
print((time.perf_counter() - begin) / runs)
"""
DBOS = """
import sys, time
from dbos import DBOS

DBOS(config={"name": "peer", "system_database_url": f"sqlite:///{sys.argv[2]}/dbos.sqlite", "log_level": "ERROR",
             "run_admin_server": False})

@DBOS.step()
def step(text):
    return text

@DBOS.workflow()
def run(text):
    for _ in range(5):
        text = step(text)
    return text

DBOS.launch()
runs, at_a_time = int(sys.argv[1]), int(sys.argv[3])
run("warm")
begin = time.perf_counter()
if at_a_time == 1:
    for _ in range(runs):
        run("a")
else:
    for _ in range(0, runs, at_a_time):
        for handle in [DBOS.start_workflow(run, "a") for _ in range(at_a_time)]:
            handle.get_result()
print((time.perf_counter() - begin) / runs)
DBOS.destroy()
"""


def seconds_per_run(module: str, program: str, *words: str) -> float | None:
    """Run a peer's program in a process of its own; None where the peer is not installed."""
    if importlib.util.find_spec(module) is None:
        return None
    quiet = {**os.environ, "HAYSTACK_TELEMETRY_ENABLED": "False"}
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, env=quiet, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main(runs: int) -> None:
    """Measure and print."""

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pure_stages.install(folder)
        ours = {at: asyncio.run(engine(folder, runs, at, False)).total for at in (1, IN_FLIGHT)}
        haystack = seconds_per_run("haystack", HAYSTACK, str(runs))
        dbos = {at: seconds_per_run("dbos", DBOS, str(min(runs, 96)), name, str(at)) for at in (1, IN_FLIGHT)}
    figures = [_figure("haystack-ai, five components, nothing stored", haystack, ours[1])]
    for at, label in ((1, "one at a time"), (IN_FLIGHT, f"{IN_FLIGHT} in flight")):
        figures.append(Figure(f"Switchgear, five durable stages, {label}", f"{1 / ours[at]:.0f}/s"))
        figures.append(_figure(f"dbos, five durable steps, {label}", dbos[at], ours[at]))
    show("Peers, SQLite", figures)


def _figure(name: str, peer: float | None, ours: float) -> Figure:
    if peer is None:
        return Figure(name, "not installed", "requirements/bench.txt")
    return Figure(name, f"{1 / peer:.0f}/s", ratio=f"Switchgear {peer / ours:.2g} x as many")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=192)
    main(parser.parse_args().runs)

"""The success criteria of the original request, on real documents and a real server.

Usage: python -m benchmarks.seed_criteria [--corpus ../shared/corpus] [--every 1] [--stages classify,read,...]

Prints: the share of documents that end on primaries without a person (goal 95 %, due with the accuracy work); per
stage, with its primary disabled, the share of those documents that still succeed (>= 90 %), and how many of those that
the primary had served; p95 from acceptance to end without OCR (< 120 s); the longest refusal of a bad configuration, a
hanging probe included (< 60 s).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.tables import Figure, percentile, show

SKIPPED = ("containers", "en16931-rules")
ENDED = ("succeeded", "failed", "parked", "cancelled")
Answer = dict[str, Any]


def documents(corpus: Path, every: int) -> list[Path]:
    """Every *every*-th document of the sets that count."""
    found = [p for p in sorted(corpus.glob("*/docs/*")) if p.is_file() and p.parent.parent.name not in SKIPPED]
    return found[::every]


def ingest(server: Any, paths: list[Path], label: str) -> dict[Path, Answer]:
    """Send the documents and wait for the end of each run."""
    runs: dict[Path, str] = {}
    for path in track(paths, description=f"sending, {label}"):
        response = server.request(
            "POST", "/documents?again=true", files={"file": (path.name, path.read_bytes())}, expect=(200, 202)
        )
        runs[path] = response.json()["run"]["id"]
    ended: dict[Path, Answer] = {}
    for path, run in track(list(runs.items()), description=f"running, {label}"):
        while (answer := server.run(run))["status"] not in ENDED:
            time.sleep(0.05)
        ended[path] = answer
    return ended


def is_unattended(run: Answer) -> bool:
    """Whether a run succeeded on the selected modules, without a person."""
    return run["status"] == "succeeded" and not run["degraded"]


def served(run: Answer, selection: Answer) -> bool:
    """Whether the selected module had something to do: without it such a run would have been another one."""
    names = selection["stage_id"], selection["module_id"]
    return any((a["stage_id"], a["module_id"]) == names and a["outcome"] == "succeeded" for a in run["attempts"])


def latency_s(run: Answer) -> float:
    """Seconds from acceptance to end."""
    from datetime import datetime

    begin, end = (datetime.fromisoformat(run[name]) for name in ("accepted_at", "ended_at"))
    return (end - begin).total_seconds()


def used_ocr(run: Answer) -> bool:
    """Whether a page had to be recognized."""
    return any(a["stage_id"] == "ocr" and a["outcome"] == "succeeded" for a in run["attempts"])


def longest_refusal(folder: Path) -> float:
    """Seconds until the activation of a configuration with a hanging probe is refused."""
    from factories import plugin
    from factories.server import RunningServer

    server = RunningServer(folder / "tiny", plugin.install(folder), {"PIPELINE": "tiny"}).start()
    try:
        body = {
            "base": "active",
            "selections": [{"stage_id": "upper", "module_id": "upper-faulty", "settings": {"probe": "hang"}}],
            "fallback_policies": [{"stage_id": "upper", "chain": [], "then": "fail"}],
        }
        made = server.request("POST", "/configurations", json=body, expect=201).json()
        begin = time.perf_counter()
        server.request("POST", f"/configurations/{made['id']}/activate", json={}, expect=422)
        return time.perf_counter() - begin
    finally:
        server.stop()


def main(corpus: Path, every: int, stages: list[str]) -> None:
    """Measure and print."""
    paths = documents(corpus, every)
    if not paths:
        raise SystemExit(f"There are no documents in {corpus}. Name the folder with --corpus.")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        refusal = longest_refusal(Path(folder))
        with started(Path(folder)) as server:
            first = ingest(server, paths, "all primaries")
            active = server.get("/configurations/active")
        good = [path for path, run in first.items() if is_unattended(run)]
        share = len(good) / len(paths)
        figures.append(
            Figure("ends on primaries, unattended", f"{share:.1%}", f"{len(good)} of {len(paths)}", bar="goal 95 %")
        )
        reasons = Counter(
            run["why"]["code"] if run["why"] else "degraded" for path, run in first.items() if path not in set(good)
        )
        figures += [Figure(f"  otherwise: {code}", str(count)) for code, count in reasons.most_common()]
        times = [latency_s(run) for run in first.values() if run["ended_at"] and not used_ocr(run)]
        p95 = percentile(times, 0.95)
        figures.append(
            Figure(
                "acceptance to end without OCR",
                f"p95 {p95:.1f} s",
                f"{len(times)} runs",
                bar="< 120 s",
                better=120 / p95,
            )
        )
        for selection in active["selections"]:
            if stages and selection["stage_id"] not in stages:
                continue
            mine = {path for path in good if served(first[path], selection)}
            figures.append(disabled(Path(folder), selection, good, mine))
    figures.append(Figure("refusal with a hanging probe", f"{refusal:.1f} s", bar="< 60 s", better=60 / refusal))
    show("Success criteria of the request", figures)


@contextmanager
def started(folder: Path) -> Iterator[Any]:
    """A new instance: what was sent before in another variant is an earlier result, and would be a doubt in itself."""
    from factories.server import RunningServer

    home = Path(tempfile.mkdtemp(dir=folder))
    site = home / "none"
    site.mkdir()
    server = RunningServer(home, site, {"PIPELINE": "invoice", "LOG_LEVEL": "warning"}).start()
    try:
        yield server
    finally:
        server.stop()


def disabled(folder: Path, selection: Answer, good: list[Path], mine: set[Path]) -> Figure:
    """Disable the primary of one stage; which of the good documents still succeed, and of *mine*, which it served?"""
    module = selection["module_id"]
    name = f"{selection['stage_id']} without {module}"
    if not mine:
        return Figure(name, "not measured", "it served no document here")
    with started(folder) as server:
        server.request("PATCH", f"/modules/{module}", json={"enabled": False, "message": "benchmark"}, expect=200)
        ended = ingest(server, good, f"without {module}")
    done = {path for path, run in ended.items() if run["status"] == "succeeded"}
    asked = sum((run["why"] or {}).get("code") == "parked.review" for run in ended.values())
    share = len(done) / len(good)
    beside = f"{len(done)} of {len(good)}; of those that it served {len(done & mine)} of {len(mine)}"
    return Figure(
        name,
        f"{share:.1%}",
        beside + (f", {asked} wait for a person" if asked else ""),
        bar=">= 90 %",
        better=share / 0.9,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th document only")
    parser.add_argument(
        "--stages", default="", help="stages whose primary is disabled, comma separated; all when absent"
    )
    arguments = parser.parse_args()
    main(arguments.corpus, arguments.every, [item for item in arguments.stages.split(",") if item])

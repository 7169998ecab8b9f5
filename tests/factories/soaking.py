"""Rounds of uploads, activations and killed processes on one instance, and what must hold all the while."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import create_engine, text

from factories.fleet import Fleet
from factories.invariants import breaches
from factories.server import Answer, RunningServer, until

LEASE_S = 3.0
#: What a fleet is started with: short leases, so that a round is short.
SETTINGS = {"WORKERS": "1", "HEARTBEAT_S": "0.5", "LEASE_S": str(LEASE_S), "LOG_LEVEL": "info"}
#: Longest wait until all has ended, in seconds: a lease and 5 s are promised, a busy machine gets ten times as long.
SETTLED_S = 10 * (LEASE_S + 5)
MAX_WAIT_S = 20.0
MODES = ("drain", "rolling")
_CHECK_EVERY = 20
_ENDS = ("applied", "rejected", "cancelled", "expired")


class Broken(Exception):
    """An invariant does not hold; the sentence says which."""


@dataclass
class Sender:
    """Sends documents all the while, each again until it is accepted, as a sender does that must lose nothing."""

    server: RunningServer
    pause_s: float = 0.1
    accepted: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._send_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(120)

    def _send_on(self) -> None:
        while not self._stop.is_set():
            number = len(self.accepted)
            if self._is_accepted(f"document {number}"):
                self._stop.wait(self.pause_s)
            else:
                self._stop.wait(0.2)

    def _is_accepted(self, words: str) -> bool:
        try:
            answer = self.server.request("POST", "/documents", content=words.encode())
        except httpx2.TransportError:  # it was killed: whether the document arrived is not known
            return False
        if answer.status_code in (200, 202):
            self.accepted.append(answer.json()["run"]["id"])
            return True
        if answer.status_code not in (429, 503):
            self.odd.append(f"{answer.status_code}: {answer.text[:500]}")
        return False


@dataclass
class Soak:
    """One instance under load.

    Attributes:
        activations: How many were accepted, by mode.
        random: Decides everything; the same seed makes the same plan.
    """

    fleet: Fleet
    database_url: str
    folder: Path
    random: random.Random
    activations: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    versions: int = 0

    def __post_init__(self) -> None:
        self.server = self.fleet.server
        self.sender = Sender(self.server)

    def start(self) -> None:
        """Start the processes with a version that delivers into the folder, then send documents."""
        self.fleet.start()
        send = {"stage_id": "send", "module_id": "send-file", "settings": {"folder": str(self.folder)}}
        self.server.switch_to(send, mode="rolling")
        self.sender.start()

    # --- rounds ---

    def round(self, number: int) -> None:
        """Something is changed, something is killed at a random moment, and now and then all must be well."""
        self.change(self.random.choice(MODES))
        time.sleep(self.random.uniform(0, 0.5))
        self.harm()
        if number % _CHECK_EVERY == _CHECK_EVERY - 1:
            self.settle()

    def harm(self) -> None:
        """Do something to a process."""
        worker = self.random.randrange(len(self.fleet.workers))
        deed = self.random.random()
        if deed < 0.5:
            self.fleet.kill_worker(worker)
        elif deed < 0.75:
            self.fleet.kill_server()
        elif deed < 0.9:
            self.fleet.kill_all()
        else:
            self.fleet.suspend_worker(worker, LEASE_S * 1.5)

    def change(self, mode: str, *, rollback: bool | None = None) -> str | None:
        """Ask for another version; returns the activation's id, None when it was refused."""
        earlier = self._earlier_versions()
        if rollback is None:
            rollback = bool(earlier) and self.random.random() < 0.3
        request = {"mode": mode, "max_wait_s": MAX_WAIT_S, "accept_degraded": True}
        if rollback:
            path, body = f"/configurations/v{self.random.choice(earlier)}/rollback", request
        else:
            made = self._ask("/configurations", self._content())
            if made is None:
                return None
            path = f"/configurations/{made['id']}/activate"
            body = request | {"accept_base_moved": True, "replace_pending": self.random.random() < 0.5}
        asked = self._ask(path, body)
        if asked is None:
            return None
        self.activations[mode] += 1
        return str(asked["id"])

    def _earlier_versions(self) -> list[int]:
        """Versions to go back to; the first one delivers nowhere."""
        query = "SELECT version FROM module_configurations WHERE status = 'superseded' AND version > 1 ORDER BY 1"
        return [int(row[0]) for row in self.rows(query)]

    def _content(self) -> Answer:
        """A new version: another module of a stage, quick or slow, with a limit that no version before had."""
        self.versions += 1
        slow = {"mode": "slow", "seconds": 0.3}
        kinds: list[tuple[str, Answer]] = [("upper-text", {}), ("upper-other", {}), ("upper-faulty", slow)]
        module, settings = self.random.choice(kinds)
        limits = {"timeout_s": 10 + self.versions / 10}
        upper = {"stage_id": "upper", "module_id": module, "settings": settings, "limits": limits}
        other = "upper-text" if module == "upper-other" else "upper-other"
        policy = {"stage_id": "upper", "chain": [{"module_id": other, "on": ["error", "unavailable"]}], "then": "park"}
        message = f"change {self.versions}"
        return {"base": "active", "selections": [upper], "fallback_policies": [policy], "message": message}

    def _ask(self, path: str, body: Answer) -> Answer | None:
        try:
            answer = self.server.request("POST", path, json=body)
        except httpx2.TransportError:
            return None
        if answer.status_code >= 500 and answer.status_code != 503:
            raise Broken(f"POST {path} answered {answer.status_code}: {answer.text[:1000]}")
        if answer.status_code >= 400:
            self.refusals[answer.json()["code"]] += 1
            return None
        found: Answer = answer.json()
        return found

    # --- what must hold ---

    def settle(self) -> None:
        """Let everything come to its end, check it, and go on.

        Raises:
            Broken: An invariant does not hold.
        """
        self.sender.stop()
        until(self.server.is_ready, what="readiness")
        end = time.monotonic() + SETTLED_S
        while (broken := self._breaches()) and time.monotonic() < end:
            time.sleep(0.2)
        broken += self.sender.odd
        known = self._known_runs()
        broken += [f"I12: run {run} was accepted, but is not there" for run in self.sender.accepted if run not in known]
        audit = self.server.get("/audit/verify")
        if not audit["ok"]:
            broken.append(f"I27: the audit trail does not verify: {audit}")
        if broken:
            raise Broken("\n".join(broken))
        self.sender.start()

    def _breaches(self) -> list[str]:
        found = breaches(self.database_url, settled=True, deliveries=self.folder)
        for run, why in self.rows("SELECT id, why FROM runs WHERE why_code = 'parked.nothing_available'"):
            found.append(f"Run {run} is on hold although every module works: {why}")
        return found

    def _known_runs(self) -> set[str]:
        return {str(row[0]) for row in self.rows("SELECT id FROM runs")}

    def finish(self) -> None:
        """Check for the last time, and end all processes.

        Raises:
            Broken: An invariant does not hold, or a process is left.
        """
        self.settle()
        self.sender.stop()
        late = self.longest_hold_s()
        if late > MAX_WAIT_S + LEASE_S + 5:
            raise Broken(f"I5: a drain held new runs for {late:.1f} s, allowed were {MAX_WAIT_S:g} s")
        until(lambda: not self._breaches(), seconds=SETTLED_S, what="the end of the last runs")
        if len(self.fleet.processes()) < 3:
            raise Broken("The look for processes sees none while they run")
        self.fleet.stop()
        if not self.fleet.are_gone():
            raise Broken(f"I25: processes are left: {self.fleet.processes()}")

    # --- what was seen ---

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        engine = create_engine(self.database_url)
        try:
            with engine.connect() as connection:
                return [tuple(row) for row in connection.execute(text(query))]
        finally:
            engine.dispose()

    def counts(self, table: str, column: str) -> dict[str, int]:
        """How many rows there are by the value of a column, or of an expression."""
        query = f"SELECT {column} AS kind, count(*) FROM {table} GROUP BY kind ORDER BY kind"
        return {str(name): int(number) for name, number in self.rows(query)}

    def longest_hold_s(self) -> float:
        """The longest time for which a drain held new runs, in seconds."""
        query = "SELECT max(ended_at - draining_at) FROM activations WHERE mode = 'drain' AND draining_at IS NOT NULL"
        return float(self.rows(query)[0][0] or 0) / 1e6

    # --- activations one after the other ---

    def activate(self, mode: str) -> str:
        """Ask for one version, do harm to a worker while it is on its way, and wait for its end; returns its state."""
        activation = self.change(mode, rollback=False)
        if self.random.random() < 0.3:
            self.fleet.kill_worker(self.random.randrange(len(self.fleet.workers)))
        if activation is None:
            return "refused"
        until(lambda: self.server.activation(activation)["state"] in _ENDS, seconds=SETTLED_S, what="an activation")
        return str(self.server.activation(activation)["state"])

    def offer(self, content: Answer) -> str:
        """Offer a content that must never serve; returns what became of it.

        Raises:
            Broken: It became active.
        """
        made = self._ask("/configurations", content)
        if made is None:
            return "not stored"
        body = {"mode": self.random.choice(MODES), "max_wait_s": MAX_WAIT_S}
        asked = self._ask(f"/configurations/{made['id']}/activate", body)
        if asked is None:
            return "not accepted"
        activation = str(asked["id"])
        until(lambda: self.server.activation(activation)["state"] in _ENDS, seconds=SETTLED_S, what="an activation")
        ended = self.server.activation(activation)
        if ended["state"] == "applied":
            raise Broken(f"I3: a content that must not serve became active: {content}")
        return f"{ended['state']}"

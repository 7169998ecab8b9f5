"""Real `switchgear serve` processes for acceptance tests, and a small client that speaks REST to them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx2

Answer = dict[str, Any]
T = TypeVar("T")

#: Sends requests to servers of this machine, each on a connection of its own: they are killed and started again. A
#: client for each request would read the certificates of the world each time, which costs more than the answer.
WEB = httpx2.Client(verify=False, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(look: Callable[[], T], *, seconds: float = 60.0, what: str = "it") -> T:
    """Look again and again until *look* gives something true; fail after *seconds*."""
    end = time.monotonic() + seconds
    pause_s = 0.02
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(pause_s)
        pause_s = min(0.1, pause_s * 1.2)  # each look is work for what is looked at, too


@dataclass
class RunningServer:
    """One server process; several may share a home or a database.

    Attributes:
        home: Folder of the instance.
        environment: Further SWITCHGEAR_ settings, without the prefix.
        site: Folder of the test plug-in, for PYTHONPATH.
        before: A command that starts the command it is followed by: in another place, or with other limits.
    """

    home: Path
    site: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    before: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        """The admin token of the instance."""
        return (self.home / "admin.token").read_text().strip()

    def variables(self) -> dict[str, str]:
        """The environment of the process."""
        names = {"PATH", "LANG", "LC_ALL", "TMPDIR", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"}
        kept = {name: value for name, value in os.environ.items() if name in names}
        settings = {"HOME": str(self.home), "PIPELINE": "tiny", "PORT": str(self.port), "MIN_FREE_BYTES": "1000000"}
        settings.update(self.environment)
        return {**kept, "PYTHONPATH": str(self.site), **{f"SWITCHGEAR_{k}": v for k, v in settings.items()}}

    def start(self, *, wait: bool = True) -> RunningServer:
        """Start the process; with *wait*, until it is ready."""
        self.port = self.port or free_port()
        self.home.mkdir(parents=True, exist_ok=True)
        command = [*self.before, str(Path(sys.executable).parent / "switchgear"), "serve"]
        with (self.home / f"log-{self.port}.txt").open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self.variables(), cwd=self.home, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        if wait:
            until(self.is_ready, what=f"readiness of the server ({self.home}/log-{self.port}.txt)")
        return self

    def is_ready(self) -> bool:
        """Whether /readyz answers 200; fails when the process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, (self.home / f"log-{self.port}.txt").read_text()[-3000:]
        try:
            return WEB.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def kill(self) -> None:
        """End it like a power cut ends it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    # --- REST ---

    def request(self, method: str, path: str, *, expect: int | tuple[int, ...] | None = None, **options: Any) -> Any:
        """Send a request below /api/v1 as admin; check the status when *expect* is given; return the response."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        response = WEB.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=70, **options)
        if expect is not None:
            wanted = (expect,) if isinstance(expect, int) else expect
            assert response.status_code in wanted, (response.status_code, response.text[:2000])
        return response

    def get(self, path: str) -> Any:
        """The JSON answer of a GET."""
        return self.request("GET", path, expect=200).json()

    def send(self, text: str, *, name: str = "a.txt", again: bool = False) -> Answer:
        """Upload a document; returns `{document, run}`."""
        response = self.request(
            "POST",
            "/documents" + ("?again=true" if again else ""),
            expect=202,
            files={"file": (name, text.encode(), "text/plain")},
        )
        answer: Answer = response.json()
        return answer

    def run(self, run_id: str) -> Answer:
        """The run as it is now."""
        answer: Answer = self.get(f"/runs/{run_id}")
        return answer

    def ended(self, run_id: str, *, seconds: float = 60.0) -> Answer:
        """Wait until the run has ended or is on hold."""
        done = ("succeeded", "failed", "parked", "cancelled")
        until(lambda: self.run(run_id)["status"] in done, seconds=seconds, what=f"the end of {run_id}")
        return self.run(run_id)

    def change(self, *selections: Answer, policies: list[Answer] | None = None, message: str = "test") -> Answer:
        """Make a version from the active one with other selections."""
        body: Answer = {"base": "active", "selections": list(selections), "message": message}
        if policies is not None:
            body["fallback_policies"] = policies
        answer: Answer = self.request("POST", "/configurations", json=body, expect=(200, 201)).json()
        return answer

    def activate(self, reference: str, **options: Any) -> Answer:
        """Request an activation."""
        answer: Answer = self.request("POST", f"/configurations/{reference}/activate", json=options, expect=202).json()
        return answer

    def activation(self, activation_id: str) -> Answer:
        """The activation as it is now."""
        answer: Answer = self.get(f"/activations/{activation_id}")
        return answer

    def applied(self, activation_id: str, *, seconds: float = 60.0) -> Answer:
        """Wait until the activation has ended; it must have been applied."""
        pending = ("queued", "warming", "draining")
        until(lambda: self.activation(activation_id)["state"] not in pending, seconds=seconds, what="the activation")
        answer = self.activation(activation_id)
        assert answer["state"] == "applied", answer
        return answer

    def switch_to(self, *selections: Answer, policies: list[Answer] | None = None, **options: Any) -> Answer:
        """Make a version, activate it, and wait until it is active; returns the configuration."""
        configuration = self.change(*selections, policies=policies)
        options = {"accept_degraded": True, **options}
        self.applied(self.activate(configuration["id"], **options)["id"])
        return configuration


Start = Callable[..., RunningServer]  #: see the fixture `start`

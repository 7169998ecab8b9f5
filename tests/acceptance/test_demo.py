"""`switchgear demo` shows what it says, with a real server, and leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factories.command_line import SWITCHGEAR, CommandLine
from factories.server import until


def test_the_demo_fails_over_swaps_waits_and_rolls_back(tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    switchgear = CommandLine(tmp_path, None, {"TMPDIR": str(temporary)})
    told = json.loads(switchgear("demo", "--no-serve", "--json", seconds=280))
    assert len(told["invoices"]) >= 8
    numbers = {row["number"] for row in told["invoices"] if row["status"] == "succeeded"}
    assert len(numbers - {""}) >= 5
    failure = told["failure"]
    assert failure["degraded"] is True
    assert any("read-pdfplumber served; wanted read-pdfium" in line for line in failure["why"])
    assert any("read-pdfium did not answer in time" in line for line in failure["why"])
    drain = told["drain"]
    assert any("draining, 1 left, 2 waiting" in line for line in drain["seen"])
    assert drain["seen"][-1].endswith("applied")
    assert [run["version"] for run in drain["runs"]] == ["v2", "v3", "v3"]
    assert told["rollback"]["served_by"] == "read-pdfium"
    assert told["audit"]["ok"] is True
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_the_kept_instance_serves_until_it_is_stopped(tmp_path: Path, number: signal.Signals, code: int) -> None:
    switchgear = CommandLine(tmp_path)
    with subprocess.Popen(
        [SWITCHGEAR, "demo", "--keep", "kept"],
        cwd=tmp_path,
        env=switchgear.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever starts tests in the background may ignore the signal, and what is ignored is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as demo:
        assert demo.stderr is not None
        said = ""
        for line in demo.stderr:
            said += line
            if "until Ctrl-C" in line:
                break
        assert re.search(r"http://127\.0\.0\.1:\d+", said), said
        assert "switchgear init" in said
        inside = CommandLine(tmp_path / "kept")
        assert inside.json("config", "show", "active")["version"] == 1
        demo.send_signal(number)
        out, _ = demo.communicate(timeout=60)
    assert demo.returncode == code
    assert "1 left, 2 waiting" in out
    assert not (tmp_path / "kept" / "data" / "server.json").exists()
    assert inside.json("audit", "verify")["ok"] is True
    switchgear("demo", "--keep", "kept", expect=2)


_SERVES = """
import sys, time
from pathlib import Path
from switchgear.interface.cli.demo.server import DemoServer
with DemoServer(Path(sys.argv[1])) as server:
    print(server.url, flush=True)
    time.sleep(300)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_demo_that_is_killed_takes_its_server_with_it(tmp_path: Path, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _SERVES, str(tmp_path)], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline().startswith("http://127.0.0.1:")
        assert (tmp_path / "data" / "server.json").exists()
        demo.send_signal(number)
        demo.wait(30)
    # The server removes the file when it has ended in order.
    until(lambda: not (tmp_path / "data" / "server.json").exists(), what="the end of the demo's server")


def test_a_demo_that_shall_outlive_its_terminal_does(tmp_path: Path) -> None:
    """`nohup` lets the signal be ignored."""
    environment = {**CommandLine(tmp_path).environment(), "TMPDIR": str(tmp_path)}
    command = ["nohup", SWITCHGEAR, "demo"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as demo:
        until(lambda: list(tmp_path.glob("switchgear-demo-*/data/server.json")), what="the demo's server")
        demo.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(2)
        demo.terminate()
        assert demo.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize(("number", "after_s"), [(signal.SIGTERM, 0.1), (signal.SIGHUP, 0.4), (signal.SIGTERM, 1.0)])
def test_a_demo_that_is_told_to_end_while_it_waits_for_its_server_shows_no_traceback(
    tmp_path: Path, number: signal.Signals, after_s: float
) -> None:
    environment = {**CommandLine(tmp_path).environment(), "TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    command = [SWITCHGEAR, "demo", "--no-serve"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        next(line for line in demo.stdout if line.startswith("$ switchgear ingest"))
        time.sleep(after_s)  # it sends, or waits for runs
        demo.send_signal(number)
        _, said = demo.communicate(timeout=60)
    assert demo.returncode == 128 + number
    assert said == ""
    assert list(tmp_path.glob("switchgear-demo-*")) == []


def test_a_demo_that_is_told_to_end_leaves_no_folder(tmp_path: Path) -> None:
    environment = {**CommandLine(tmp_path).environment(), "TMPDIR": str(tmp_path)}
    with subprocess.Popen([SWITCHGEAR, "demo"], env=environment, stdout=subprocess.DEVNULL) as demo:
        until(lambda: list(tmp_path.glob("switchgear-demo-*/data/server.json")), what="the demo's server")
        demo.terminate()
        assert demo.wait(60) == 128 + signal.SIGTERM
    assert list(tmp_path.glob("switchgear-demo-*")) == []

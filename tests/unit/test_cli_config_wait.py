"""`config set` and `config create` with `--activate --wait` stay until the switch, as `config activate --wait` does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from factories.api_answers import ACTIVE, Json
from switchgear.interface.cli import activations, config
from switchgear.interface.cli.app import run

COMMANDS = (["set", "read.limits.retries=2"], ["create", "pipeline.yaml"])


class Answer:
    """What the server says, with its headers."""

    def __init__(self, body: Json, status_code: int = 200) -> None:
        self.body = body
        self.status_code = status_code
        self.headers = {"etag": '"seen"'}

    def json(self) -> Json:
        return self.body


class Server:
    """Answers as a server does that needs two looks for a switch, which then ended as it is told."""

    in_process = False

    def __init__(self, end: str) -> None:
        self.states = ["draining", end]
        self.made = Answer({"id": "cfg_2", "label": "v2", "status": "validated", "findings": []}, 201)
        self.pending: Json | None = None
        self.requested: tuple[Json, Json] | None = None  #: body and headers of the activation

    def get(self, path: str, **_: object) -> Json:
        if path.startswith("/activations/"):
            return self._activation(self.states.pop(0))
        return {
            "/configurations/active": {**ACTIVE, "pending_activation": self.pending},
            "/status": {"pipeline": "invoice", "stops": []},
        }[path]

    def raw(self, method: str, path: str, *, json: Json | None = None, headers: Json | None = None) -> Answer:
        if method == "GET":
            return Answer(self.get(path))
        if path == "/configurations":
            return self.made
        assert (method, path) == ("POST", "/configurations/cfg_2/activate")
        self.requested = (json or {}, headers or {})
        return Answer(self._activation("queued"), 202)

    @staticmethod
    def _activation(state: str) -> Json:
        is_pending = state in ("queued", "draining")
        ways = {"kind": "activate", "from_version": 1, "configuration_version": 2}
        return {"id": "act_1", "state": state, "is_pending": is_pending, **ways}


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text("format: 1\npipeline: invoice\nselections: []\n")
    monkeypatch.setattr(activations, "_LOOK_S", 0.0)


def serve(monkeypatch: pytest.MonkeyPatch, end: str) -> Server:
    server = Server(end)

    @contextmanager
    def connect(**_: Any) -> Iterator[Server]:
        yield server

    monkeypatch.setattr(config, "connect", connect)
    return server


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
@pytest.mark.parametrize(("end", "code"), [("applied", 0), ("rejected", 1), ("expired", 1), ("cancelled", 1)])
def test_the_exit_code_says_whether_it_was_applied(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], end: str, code: int
) -> None:
    server = serve(monkeypatch, end)
    assert run(["config", *words, "--activate", "--wait"]) == code
    assert server.states == []
    assert f"v1 -> v2: {end}" in capsys.readouterr().out


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_without_it_the_command_ends_when_the_request_was_accepted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    server = serve(monkeypatch, "applied")
    assert run(["config", *words, "--activate"]) == 0
    assert server.states == ["draining", "applied"]
    assert "Accepted as act_1" in capsys.readouterr().err


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_waiting_for_nothing_is_wrong_use_and_makes_no_version(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(config, "connect", None)  # nobody is asked
    assert run(["config", *words, "--wait"]) == 2
    assert "--wait goes with --activate" in capsys.readouterr().err


def test_in_json_the_activation_is_one_value_as_it_ended(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    serve(monkeypatch, "applied")
    assert run(["config", *COMMANDS[0], "--activate", "--wait", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "applied"


def test_stored_content_is_compared_with_what_the_command_saw_not_with_its_old_base(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(monkeypatch, "applied")
    server.made = Answer({**server.made.body, "status": "superseded", "base_id": "cfg_0"}, 200)
    assert run(["config", *COMMANDS[0], "--activate"]) == 0
    assert server.requested == ({"message": "", "accept_base_moved": True}, {"If-Match": '"seen"'})


def test_what_is_new_is_compared_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(monkeypatch, "applied")
    assert run(["config", *COMMANDS[0], "--activate"]) == 0
    assert server.requested == ({"message": ""}, {})


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_what_is_active_already_needs_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    server = serve(monkeypatch, "applied")
    server.made = Answer({**server.made.body, "status": "active", "base_id": None}, 200)
    assert run(["config", *words, "--activate", "--wait"]) == 0
    assert server.requested is None
    assert "v2 is the active configuration already; there is nothing to do." in capsys.readouterr().err


def test_what_is_active_but_about_to_be_replaced_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(monkeypatch, "applied")
    server.made = Answer({**server.made.body, "status": "active", "base_id": None}, 200)
    server.pending = {"id": "act_0"}
    assert run(["config", *COMMANDS[0], "--activate"]) == 0
    assert server.requested is not None

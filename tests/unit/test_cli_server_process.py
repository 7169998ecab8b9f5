"""The process behind `serve`: its file is the owner's, and a port or a home it cannot have is one sentence."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path

import pytest

from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.instance_location import live_server, remove_server_file, write_server_file
from switchgear.interface.cli.server_process import listen, loop_factory, prepare_home


def test_the_server_file_is_for_the_owner_and_only_believed_while_its_process_lives(tmp_path: Path) -> None:
    write_server_file(tmp_path, "http://127.0.0.1:5")
    assert stat.S_IMODE((tmp_path / "server.json").stat().st_mode) == 0o600
    found = live_server(tmp_path)
    assert found is not None
    assert (found.url, found.process_id) == ("http://127.0.0.1:5", os.getpid())
    remove_server_file(tmp_path)
    assert live_server(tmp_path) is None
    (tmp_path / "server.json").write_text(json.dumps({"url": "http://127.0.0.1:5", "pid": 2**22 + 1}))
    assert live_server(tmp_path) is None
    (tmp_path / "server.json").write_text("{")
    assert live_server(tmp_path) is None


def test_choosing_the_event_loop_leaves_the_loggers_of_the_library_to_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    library = logging.getLogger("uvicorn")
    monkeypatch.setattr(library, "handlers", [])
    monkeypatch.setattr(library, "propagate", True)
    monkeypatch.setattr(library, "level", logging.NOTSET)
    loop_factory()
    assert library.handlers == []  # else its lines would stand as plain text between lines of JSON
    assert library.propagate
    assert library.level == logging.NOTSET


def test_a_taken_port_is_one_sentence() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"Cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)


def test_a_home_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandFailed, match="cannot be written"):
        prepare_home(tmp_path / "file" / "home")

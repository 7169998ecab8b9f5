"""Which server a command speaks to; without instance, address, token or answer it says so in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from switchgear.interface.cli.app import run
from switchgear.interface.cli.client import connect
from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.instance_location import require_instance
from switchgear.interface.cli.server_process import listen, url_of

NO_ADDRESSES = (
    *("nothing", "localhost:8420", "//host", "ftp://host", "http://", "http:///path", "http://:8420", " http://host"),
    *("http://host:port", "http://host:99999", "http://[::1", "http://ho\nst"),
)


def test_without_an_instance_the_paths_that_were_looked_at_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SWITCHGEAR_")]:
        monkeypatch.delenv(name)
    with pytest.raises(WrongUse, match="switchgear init") as refused:
        require_instance()
    assert str(tmp_path) in refused.value.message
    assert run(["runs", "list"]) == 2
    assert "switchgear init" in capsys.readouterr().err


def test_a_named_server_needs_a_token(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("SWITCHGEAR_TOKEN", raising=False)
    assert run(["runs", "list"]) == 2
    assert "SWITCHGEAR_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize("url", NO_ADDRESSES)
@pytest.mark.parametrize("words", [["status"], ["doctor"]])
def test_an_address_that_names_no_server_is_wrong_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "token")
    assert run(words) == 2
    printed, said = capsys.readouterr()
    assert printed == ""
    assert said == (
        "SWITCHGEAR_URL holds no address of a server. Set it to one like http://127.0.0.1:8420, "
        "or unset it for the instance here.\n"
    )


@pytest.mark.parametrize(
    "url",
    ["http://user:s3cretword@127.0.0.1:1", "http://s3cretword@host", "http://u:1/s3cretword@host", "http://@host"],
)
@pytest.mark.parametrize("words", [["config", "history"], ["doctor", "--json"]])
def test_a_user_or_password_in_the_address_is_wrong_use_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], url: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "token")
    assert run(words) == 2
    printed, said = capsys.readouterr()
    assert printed == ""
    assert "s3cretword" not in said
    assert "SWITCHGEAR_URL must hold no user and no password: remove what stands before the @." in said
    assert "SWITCHGEAR_TOKEN" in said


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("http://127.0.0.1:8420", "http://127.0.0.1:8420"),
        ("https://switchgear.example", "https://switchgear.example"),
        ("HTTPS://[::1]:65535/", "HTTPS://[::1]:65535"),
        ("http://host/behind/a/proxy/", "http://host/behind/a/proxy"),
    ],
)
def test_an_address_of_a_server_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str, where: str) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "token")
    with connect() as api:
        assert api.where == where


@pytest.mark.parametrize("token", ["\u00e9", "a b", "a\nb"])
def test_a_token_that_can_be_none_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    monkeypatch.setenv("SWITCHGEAR_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SWITCHGEAR_TOKEN", token)
    assert run(["status"]) == 2
    error = capsys.readouterr().err
    assert "SWITCHGEAR_TOKEN is no token" in error
    assert "Traceback" not in error


def test_a_server_that_does_not_answer_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listen("127.0.0.1", 0) as taken:
        url = url_of(taken)
    monkeypatch.setenv("SWITCHGEAR_URL", url)
    monkeypatch.setenv("SWITCHGEAR_TOKEN", "x")
    assert run(["status"]) == 1
    error = capsys.readouterr().err
    assert "does not answer" in error
    assert "Traceback" not in error

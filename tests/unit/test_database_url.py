"""DATABASE_URL: what cannot be read is refused in one sentence, and no part of a password is ever shown."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from factories.command_line import CommandLine
from switchgear.core.database_url import checked, shown
from switchgear.core.settings import SettingsInvalid, load_settings

CANARY = "s3cretword"
#: Each holds the canary where a person who encodes nothing puts it, or names a port that is none.
UNREADABLE = (
    *(f"postgresql://u:p@ss:{CANARY}@h/x", f"postgresql://u:{CANARY}@h:abc/x", f"postgresql://u:p@{CANARY}@h/x"),
    *(f"postgresql://u:p@h/{CANARY}@h/x", f"postgresql://u:p@h?{CANARY}@h/x", f"postgresql://u/{CANARY}:p@h/x"),
    *(f"postgresql://u:{CANARY}/x", f"postgresql://u:{CANARY}@h:99999/x", f"postgresql://u:{CANARY}@h:0/x"),
    f"postgresql://u:{CANARY}@h:/x",
    *(f"postgresql://u:{CANARY}@h1:1,h2:2/x", f"postgresql://u:{CANARY}@[::1/x", f"postgresql://u:{CANARY}@h]/x"),
    *(f"postgresql://u:{CANARY}@h/x?pass word=1", f"postgresql://u:{CANARY}@h/x?{CANARY}", f"mysql://u:{CANARY}@h/x"),
    *(f"postgresql:/u:{CANARY}@h/x", f"postgresql://u:{CANARY}@ h/x", f"postgresql://u:{CANARY}@h/x\ny"),
)
#: Every command that reads the settings of an instance, in few words.
COMMANDS = (
    *("migrate", "doctor", "status", "serve", "worker", "backup saved", "restore saved", "prune"),
    *(
        "tokens create x --role viewer",
        "config history",
        "ingest switchgear.toml",
        "watch .",
        "modules try a switchgear.toml",
    ),
)


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_url_that_cannot_be_read_is_refused_without_any_part_of_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(tmp_path, {"SWITCHGEAR_DATABASE_URL": url})
    said = str(refused.value)
    assert CANARY not in said + str(refused.value.record())
    assert "postgresql://" in said


def test_the_refusal_says_what_is_wrong_why_and_what_to_write_instead(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(tmp_path, {"SWITCHGEAR_DATABASE_URL": f"postgresql://u:p@ss:{CANARY}@h/x"})
    assert str(refused.value) == (
        "The settings do not fit. database_url cannot be read: it has more than one @. Write such characters in a user "
        "name or password percent-encoded (@ is %40, : is %3A, / is %2F), in the form "
        "postgresql://USER:PASSWORD@HOST:PORT/NAME."
    )


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://", "postgresql:///name", "postgresql://h", "postgresql://h:5432/name", "postgresql://u@/name"),
        *("postgresql://u:p%40ss%3Aw%2F@h/x", "postgresql://u:a:b/c?d#e@h/x", "postgresql://u:p@[::1]:5432/x"),
        *("postgres://u@/name?host=/run/postgresql", "postgresql+psycopg://h/x?sslmode=require&connect_timeout=3"),
        *("sqlite:////folder/with@in/it:1.db", "postgresql://h/x?"),
    ],
)
def test_what_the_driver_reads_is_taken(url: str) -> None:
    make_url(checked(url))


@given(password=st.text(min_size=1), user=st.text(min_size=1))
def test_any_user_and_password_can_be_written_percent_encoded(user: str, password: str) -> None:
    url = make_url(checked(f"postgresql://{quote(user, '')}:{quote(password, '')}@db.example:5433/name"))
    assert (url.username, url.password, url.host, url.port, url.database) == (
        *(user, password, "db.example", 5433, "name"),
    )


@given(st.text(alphabet="ab1@:/?#%[]=&, \n"))
def test_what_is_taken_is_read_by_everybody_alike_and_has_no_at_sign_but_that_of_the_password(rest: str) -> None:
    try:
        url = checked(f"postgresql://{rest}")
    except ValueError:
        return
    read = make_url(url)
    assert "@" not in f"{read.host}{read.database}{read.query}"
    assert read.port is None or 0 < read.port < 65536


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("postgresql://user:s3cretword@host/name", "postgresql://user:***@host/name"),
        ("postgresql://:s3cretword@host/name", "postgresql://:***@host/name"),
        ("postgresql://user@host:5432/name", "postgresql://user@host:5432/name"),
        ("postgresql://host/x?password=s3cretword&sslmode=a", "postgresql://host/x?password=***&sslmode=a"),
        ("postgresql://host/x?sslmode=a&SSLpassword=s3cretword", "postgresql://host/x?sslmode=a&SSLpassword=***"),
        ("postgresql://u@host/x?pass%77ord=s3cretword", "postgresql://u@host/x?pass%77ord=***"),
        ("sqlite:////a@b:c/d.db", "sqlite:////a@b:c/d.db"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, words: str) -> None:
    assert shown(url) == words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_an_unreadable_url_in_one_sentence_without_the_password(
    tmp_path: Path, command: str
) -> None:
    url = f"postgresql://{CANARY}u:{CANARY}p@ss:{CANARY}q@{CANARY}h/{CANARY}x"
    switchgear = CommandLine(tmp_path, None, {"SWITCHGEAR_DATABASE_URL": url})
    (tmp_path / "switchgear.toml").write_text("")
    ended = switchgear.run(*command.split(), expect=1)  # fails on a traceback too
    assert CANARY not in ended.stdout + ended.stderr
    assert ended.stderr.startswith("The settings do not fit. database_url cannot be read: ")
    assert ended.stderr.count("\n") == 1

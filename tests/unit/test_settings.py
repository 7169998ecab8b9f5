"""Settings come from one place each, say where from, and refuse what they do not know."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from switchgear.core.settings import Settings, SettingsInvalid, find_instance, home_without_file, load_settings


def write(folder: Path, text: str) -> Path:
    (folder / "switchgear.toml").write_text(text)
    return folder


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = load_settings(tmp_path, {})
    assert settings.home == tmp_path / "switchgear-data"
    assert settings.database_url == f"sqlite:///{tmp_path}/switchgear-data/switchgear.db"
    assert settings.secrets_dirs == (tmp_path / "switchgear-data" / "secrets",)
    assert (settings.host, settings.port, settings.pipeline) == ("127.0.0.1", 8420, "invoice")
    assert settings.origin_of("port") == "default"


def test_the_command_line_wins_over_the_environment_over_the_file(tmp_path: Path) -> None:
    write(tmp_path, 'port = 1\nhost = "h"\nworkers = 3\n')
    settings = load_settings(tmp_path, {"SWITCHGEAR_PORT": "2", "SWITCHGEAR_HOST": "e"}, {"port": 4, "host": None})
    assert (settings.port, settings.host, settings.workers) == (4, "e", 3)
    assert settings.origin_of("port") == "command line"
    assert settings.origin_of("host") == "variable SWITCHGEAR_HOST"
    assert settings.origin_of("workers") == str(tmp_path / "switchgear.toml")


def test_the_nearest_file_upwards_counts_and_its_paths_are_meant_from_there(tmp_path: Path) -> None:
    write(tmp_path, 'home = "data"\n[[source]]\nkind = "folder"\npath = "in"\nfailed = "/bad"\n')
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    settings = load_settings(below, {})
    assert settings.home == tmp_path / "data"
    [source] = settings.source
    assert (source.path, source.done, source.failed) == (tmp_path / "in", tmp_path / "in" / "done", Path("/bad"))
    assert find_instance(below, {}) == tmp_path


def test_a_home_in_the_environment_is_meant_from_where_one_stands(tmp_path: Path) -> None:
    write(tmp_path, "port = 1\n")
    below = tmp_path / "below"
    below.mkdir()
    assert load_settings(below, {"SWITCHGEAR_HOME": "mine"}).home == below / "mine"


def test_folders_of_secrets_are_meant_from_where_they_are_named(tmp_path: Path) -> None:
    (tmp_path / "switchgear.toml").write_text('secrets_dirs = ["keys", "/run/secrets"]\n')
    below = tmp_path / "a"
    below.mkdir()
    assert load_settings(below, {}).secrets_dirs == (tmp_path / "keys", Path("/run/secrets"))
    named = {"SWITCHGEAR_SECRETS_DIRS": f"mine{os.pathsep}/run/secrets"}
    assert load_settings(below, named).secrets_dirs == (below / "mine", Path("/run/secrets"))


def test_without_a_file_the_instance_is_home_when_it_is_there(tmp_path: Path) -> None:
    assert find_instance(tmp_path, {}) is None
    assert home_without_file(tmp_path, {}) == tmp_path / "switchgear-data"
    (tmp_path / "elsewhere").mkdir()
    assert find_instance(tmp_path, {"SWITCHGEAR_HOME": "elsewhere"}) == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("file", "environment", "words"),
    [
        ("prot = 1\n", {}, "no setting 'prot'. Did you mean 'port'?"),
        ("PORT = 1\n", {}, "Did you mean 'port'?"),
        ("retention_days = 1\n", {}, "no setting 'retention_days'"),
        ("queues = ['Big Ones']\n", {}, "queues"),
        ("", {"SWITCHGEAR_PROT": "1"}, "SWITCHGEAR_PROT. Did you mean 'SWITCHGEAR_PORT'?"),
        ("", {"SWITCHGEAR_QUEUES": "ocr,a b"}, "SWITCHGEAR_QUEUES"),
        ("port = 'many'\n", {}, "port ("),
        ("port = [\n", {}, "cannot be read"),
        ("", {"SWITCHGEAR_PORT": "70000"}, "port (variable SWITCHGEAR_PORT) must be "),
        ("", {"SWITCHGEAR_BOOTSTRAP_TOKEN": "canary5519"}, "BOOTSTRAP_TOKEN): must have 32 to 256 characters."),
        ("", {"SWITCHGEAR_QUEUE_BACKEND": "celery"}, "must be one of: builtin, procrastinate."),
        ("", {"SWITCHGEAR_QUEUE_BACKEND": "procrastinate"}, "needs PostgreSQL, and database_url is SQLite; set"),
        ("", {"SWITCHGEAR_ISOLATION": "L4"}, "must be one of: auto, L0, L1, L2, L3."),
        ("", {"SWITCHGEAR_LEASE_S": "19"}, "at least four times"),
        ("", {"SWITCHGEAR_DATABASE_URL": "mysql://x"}, "must begin with sqlite"),
        ("[[source]]\nkind = 'folder'\npaht = 'x'\n", {}, "source.path"),
        ("[[source]]\nkind = 'webhook'\npath = 'x'\n", {}, "source.kind"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(
    tmp_path: Path, file: str, environment: dict[str, str], words: str
) -> None:
    write(tmp_path, file)
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path, environment)
    assert words in caught.value.message
    assert caught.value.fields["problems"]
    assert "canary5519" not in str(caught.value.record())


def test_a_queue_backend_whose_package_is_missing_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"SWITCHGEAR_QUEUE_BACKEND": "procrastinate", "SWITCHGEAR_DATABASE_URL": "postgresql://h/d"}
    assert load_settings(tmp_path, wanted).queue_backend == "procrastinate"
    monkeypatch.setattr(sys, "path", [])  # nothing can be found any more
    monkeypatch.delitem(sys.modules, "procrastinate", raising=False)
    with pytest.raises(SettingsInvalid, match=r"run pip install 'switchgear\[procrastinate\]'"):
        load_settings(tmp_path, wanted)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, "prot = 1\nhots = 2\n")
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path, {"SWITCHGEAR_WORKRES": "3"})
    assert len(caught.value.fields["problems"]) == 3


def test_names_that_others_read_are_left_alone(tmp_path: Path) -> None:
    others = {"SWITCHGEAR_URL": "u", "SWITCHGEAR_TOKEN": "t", "SWITCHGEAR_SECRET_MAIL": "s", "SWITCHGEAR_OUT": "o"}
    assert load_settings(tmp_path, {**others, "PATH": "/bin"}).port == 8420


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgres://h/d", "postgresql+psycopg://h/d"),
        ("postgresql+psycopg://h/d", "postgresql+psycopg://h/d"),
        ("sqlite:////x.db", "sqlite:////x.db"),
    ],
)
def test_a_database_url_gets_the_driver_that_is_used(given: str, used: str) -> None:
    assert Settings(database_url=given).database_url == used


def test_views_mask_secrets_and_name_origins(tmp_path: Path) -> None:
    canary = "canary-of-more-than-thirty-two-characters"
    environment = {
        "SWITCHGEAR_BOOTSTRAP_TOKEN": canary,
        "SWITCHGEAR_DATABASE_URL": f"postgresql://user:{canary}@host/name",
        "SWITCHGEAR_SECRETS_DIRS": "/a:/b",
    }
    settings = load_settings(tmp_path, environment)
    views = {view.name: view for view in settings.views()}
    assert set(views) == set(Settings.model_fields)
    assert canary not in str(views)
    assert canary not in repr(settings.bootstrap_token)
    assert views["database_url"].value == "postgresql+psycopg://user:***@host/name"
    assert views["database_url"].origin == "variable SWITCHGEAR_DATABASE_URL"
    assert views["secrets_dirs"].value == "/a:/b"
    assert all(view.description for view in views.values())


def test_an_impossible_secret_is_not_echoed(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path, {"SWITCHGEAR_DATABASE_URL": "mysql://user:canary5519@host"})
    assert "canary5519" not in str(caught.value.record())


def test_a_value_that_does_not_fit_is_answered_with_what_is_wanted_and_where_it_came_from(tmp_path: Path) -> None:
    environment = {"SWITCHGEAR_WORKERS": "many", "SWITCHGEAR_PORT": "99999", "SWITCHGEAR_LOG_FORMAT": "xml"}
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(tmp_path, environment)
    said = str(caught.value)
    assert "workers (variable SWITCHGEAR_WORKERS) must be a whole number." in said
    assert "port (variable SWITCHGEAR_PORT) must be at most 65535." in said
    assert "log_format (variable SWITCHGEAR_LOG_FORMAT) must be one of: json, text." in said


def test_settings_cannot_be_changed() -> None:
    settings: Any = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def test_what_two_settings_demand_of_each_other_is_said_without_the_words_of_the_library(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(tmp_path, {"SWITCHGEAR_DATABASE_URL": "mysql://host/name"})
    assert str(refused.value) == ("The settings do not fit. database_url must begin with sqlite:/// or postgresql://.")


@pytest.mark.parametrize("given", ["default, ocr", "default,ocr,"])
def test_queues_are_a_list_with_commas(tmp_path: Path, given: str) -> None:
    assert load_settings(tmp_path, {"SWITCHGEAR_QUEUES": given}).queues == ("default", "ocr")
    assert load_settings(tmp_path, {}).queues == ()

"""What is in ops/ can be read, and names only metrics, codes, settings and commands that exist."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main
import yaml

from factories.markdown import ROOT
from switchgear.core.settings import Settings
from switchgear.domain.errors import Code
from switchgear.interface.cli.app import app

OPS: Final = ROOT / "ops"
DOCKERFILE: Final = (OPS / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((OPS / "compose.yaml").read_text(encoding="utf-8"))
UNIT: Final = OPS / "switchgear.service"
RULES: Final[list[dict[str, Any]]] = yaml.safe_load((OPS / "alerts.yml").read_text(encoding="utf-8"))["groups"][0][
    "rules"
]
PANELS: Final[list[dict[str, Any]]] = json.loads((OPS / "grafana.json").read_text(encoding="utf-8"))["panels"]
EXPRESSIONS: Final = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{f"{panel['title']} {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]},
}
#: Labels whose values are codes of the catalogue.
CODE_LABELS: Final = {"code", "reason"}
#: Labels that Prometheus adds itself.
ITS_OWN: Final = {"instance", "job", "le"}


def shown_metrics() -> dict[str, set[str]]:
    """Every name that /metrics may show, with its labels: from the reference page, which follows the code."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    names: dict[str, set[str]] = {}
    for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", page, re.MULTILINE):
        for ending in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            names[name + ending] = set(re.findall(r"`(\w+)`", labels))
    return names


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_names_metrics_and_labels_that_exist(name: str) -> None:
    expression = EXPRESSIONS[name]
    known = shown_metrics()
    used = set(re.findall(r"\bswitchgear_\w+", expression))
    assert used or expression == 'up{job="switchgear"} == 0'
    assert used <= known.keys()
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression))
    for group in re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression):
        labels |= {label.strip() for label in group.split(",") if label.strip()}
    assert labels <= ITS_OWN.union(*(known[metric] for metric in used))
    assert expression.count("(") == expression.count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    summary, runbook = rule["annotations"]["summary"], rule["annotations"]["runbook"]
    labels = set(re.findall(r"\$labels\.(\w+)", summary + runbook))
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", rule["expr"])
    kept = {label.strip() for group in grouped for label in group.split(",")} if grouped else {"instance"}
    assert labels <= kept
    templated = re.fullmatch(r"/problems/\{\{ \$labels\.(\w+) \}\}", runbook)
    if templated:
        assert templated[1] in CODE_LABELS
    else:
        assert Code(runbook.removeprefix("/problems/"))


@pytest.mark.parametrize("name", ["SwitchgearBreakerOpened", "SwitchgearActivationRefused"])
def test_an_alert_on_single_events_sees_the_first_one(name: str) -> None:
    """A counter that is shown from its first event on has not increased for Prometheus."""
    expression = " ".join(EXPRESSIONS[name].split())
    ((counter, window),) = re.findall(r"increase\((switchgear_\w+\{.*?\})\[(\w+)\]\)", expression)
    assert f"{counter} unless {counter} offset {window}" in expression


def test_every_alert_has_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(names) == len(set(names)) > 10


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_reads_every_alert() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(OPS / "alerts.yml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout


def test_the_dashboard_asks_whoever_opens_it_for_the_source_of_its_data() -> None:
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places)


# --- image and compose file ---


def settings_in(text: str) -> set[str]:
    return {name.lower() for name in re.findall(r"\bSWITCHGEAR_([A-Z_]+)\b", text)}


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "switchgear.service"])
def test_settings_that_are_given_exist(name: str) -> None:
    uncommented = re.sub(r"^\s*#.*", "", (OPS / name).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert settings_in(uncommented)
    assert settings_in(uncommented) <= Settings.model_fields.keys()


def test_images_are_named_without_a_registry() -> None:
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images += [service["image"] for service in COMPOSE["services"].values()]
    assert images
    assert [name for name in images if re.match(r"[^/]*[.:][^/]*/|localhost/", name)] == []


def test_the_image_is_made_of_files_that_are_there_and_runs_as_nobody_in_particular() -> None:
    ignored = (OPS / "Dockerfile.dockerignore").read_text(encoding="utf-8")
    for source in re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE):
        assert f"!{source}\n" in ignored
        assert source.startswith("dist/") or (ROOT / source).is_file()
    assert "--require-hashes" in DOCKERFILE
    last_user = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1]
    assert last_user.split(":")[0] not in ("0", "root")
    start = DOCKERFILE[DOCKERFILE.index("USER") :]
    assert "RUN" not in start
    check = start[start.index("HEALTHCHECK") :]
    assert "/readyz" in check
    assert f"environ.get('SWITCHGEAR_PORT', '{Settings.model_fields['port'].default}')" in check
    (home,) = re.findall(r"SWITCHGEAR_HOME=(\S+)", DOCKERFILE)
    assert f"VOLUME {home}\n" in DOCKERFILE


def test_services_of_the_compose_file_listen_on_this_machine_only_and_run_real_commands() -> None:
    services = COMPOSE["services"]
    published = {name: port for name, service in services.items() for port in service.get("ports", [])}
    assert list(published) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in published.values())
    assert services["api"]["environment"]["SWITCHGEAR_WORKERS"] == "0"
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    commands = getattr(typer.main.get_command(app), "commands", {})
    for name in ("worker", "worker-ocr"):
        noun, *options = services[name]["command"]
        command: Any = commands[noun]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {option for option in options if option.startswith("--")} <= known
        assert services[name]["networks"] == ["inside"]


def test_a_worker_of_the_compose_file_is_asked_whether_it_is_ready_where_it_answers() -> None:
    for name in ("worker", "worker-ocr"):
        service = COMPOSE["services"][name]
        port = service["environment"]["SWITCHGEAR_METRICS_PORT"]
        assert f"http://127.0.0.1:{port}/readyz" in service["healthcheck"]["test"][-1]


def test_no_secret_is_written_down() -> None:
    for service in COMPOSE["services"].values():
        for name, value in service["environment"].items():
            if "PASSWORD" in name:
                assert value.startswith("${POSTGRES_PASSWORD:?")
            assert not re.search(r"://\w+:[^@/]+@", value)


def test_work_is_finished_or_handed_back_before_anybody_kills() -> None:
    grace = Settings.model_fields["shutdown_grace_s"].default
    for name in ("api", "worker", "worker-ocr"):
        assert int(COMPOSE["services"][name]["stop_grace_period"].removesuffix("s")) > grace
    assert float(unit()["Service"]["TimeoutStopSec"]) > grace


# --- systemd ---


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT, encoding="utf-8")
    return parser


def test_the_service_may_write_its_home_and_nothing_else() -> None:
    service = unit()["Service"]
    hardened = ("NoNewPrivileges", "PrivateTmp", "RestrictSUIDSGID", "ProtectHome", "PrivateDevices")
    assert {name: service[name] for name in hardened} == dict.fromkeys(hardened, "yes")
    assert service["ProtectSystem"] == "strict"
    assert service["Environment"] == f"SWITCHGEAR_HOME={service['ReadWritePaths']}"
    assert service["User"] not in ("", "root")
    assert service["Restart"] == "on-failure"
    assert service["ExecStart"].split()[1:] == ["serve"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    text = re.sub(r"^ExecStart=.*", "ExecStart=/bin/true", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (tmp_path / UNIT.name).write_text(text, encoding="utf-8")
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / UNIT.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert UNIT.name not in said.stdout + said.stderr, said.stderr

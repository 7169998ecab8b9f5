"""Commands without a server say which modules there are and what they lack, and try one without activating it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from factories.command_line import CommandsInProcess, write
from switchgear.core.module_registry import ModuleChange, ModuleRegistry
from switchgear.domain.stage import ModuleStatus
from switchgear.interface.cli import module_wait
from switchgear.interface.cli.module_trial import temporary_settings

pytestmark = pytest.mark.timeout(300)


def test_modules_stages_and_contracts_say_what_is_missing_and_what_fits(switchgear: CommandsInProcess) -> None:
    listed = switchgear("modules", "list")
    assert "upper-nobinary: " in listed
    assert "module.missing_binary" in listed
    shown = switchgear("modules", "show", "upper-nobinary")
    assert "unavailable" in shown
    assert "L1 or higher, network open" in shown
    assert "upper-misfit" in switchgear("stages", "show", "upper")
    assert "incompatible" in switchgear("stages", "show", "upper")
    switchgear("config", "set", "upper.limits.timeout_s=2.5", "upper.limits.retries=2", "--activate")
    lines = switchgear("stages", "show", "upper").splitlines()
    assert "limits    timeout 2.5 s, retries 2, memory 1024 MiB, queue default" in lines
    assert "tiny-upper@1.2" in switchgear("contracts", "list")
    assert '"confidence"' in switchgear("contracts", "show", "tiny-upper@1.2")
    switchgear("contracts", "compare", "tiny-upper@1.2", "tiny-upper@1.2")
    switchgear("contracts", "compare", "tiny-load@1.0", "tiny-upper@1.2", expect=1)
    switchgear("contracts", "show", "tiny-upper", expect=2)
    assert "disabled" in switchgear("modules", "disable", "upper-text", "-m", "Holiday")
    assert "fallback upper-other" in switchgear("stages", "list")
    assert "fallback upper-other" in switchgear("status")
    assert "available" in switchgear("modules", "enable", "upper-text")
    assert "modules are installed" in switchgear("modules", "rescan", "-m", "After the upgrade")
    assert "breaker forced_open" in switchgear("modules", "breaker", "upper-text", "forced_open", "-m", "Wrong totals")
    assert "available, breaker forced_open" in switchgear("modules", "list")
    assert "breaker forced_open by local-admin since" in switchgear("modules", "show", "upper-text")
    assert "breaker closed" in switchgear("modules", "breaker", "upper-text", "closed")
    switchgear("modules", "breaker", "upper-text", "open", expect=2)
    (rescan,) = switchgear.json("audit", "list", "--action", "module.rescanned")
    assert rescan["message"] == "After the upgrade"


def test_a_command_that_imports_modules_for_long_says_which_on_stderr(
    switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_wait, "_QUIET_S", 0)
    (switchgear.folder / "switchgear-data" / "cache" / "descriptions.json").unlink(missing_ok=True)
    ended = switchgear.run("modules", "list", "--json")

    [line] = ended.stderr.splitlines()
    assert re.fullmatch(r"Waiting for the import of [\w, -]+( and \d+ more)?\.", line)
    assert json.loads(ended.stdout)


def test_a_rescan_says_that_only_the_code_of_a_module_changed(
    switchgear: CommandsInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ModuleChange("upper-text", ModuleStatus.AVAILABLE, ModuleStatus.AVAILABLE, None)

    async def rescan(*_: Any, **__: Any) -> list[ModuleChange]:
        await asyncio.sleep(0.1)
        return [change]

    monkeypatch.setattr(ModuleRegistry, "rescan", rescan)
    monkeypatch.setattr(module_wait, "_QUIET_S", 0)
    ended = switchgear.run("modules", "rescan")

    assert "  upper-text: its code changed; still available" in ended.stdout.splitlines()
    assert "Waiting for the import of modules by the instance in " in ended.stderr


def test_a_module_is_tried_on_a_real_document_without_activating_anything(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words")
    tried = switchgear.run("modules", "try", "upper-other", "one.txt")
    assert "one.txt with upper-other for upper: succeeded" in tried.stdout
    assert "upper: upper-other served, as selected" in tried.stdout
    assert switchgear.json("config", "show", "active")["version"] == 1
    assert switchgear.json("documents", "list") == []
    switchgear("modules", "try", "upper-other", "missing.txt", expect=2)
    switchgear("modules", "try", "upper-nothing", "one.txt", expect=1)


def test_a_trial_keeps_its_hands_off_the_database_documents_and_jobs_of_the_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SWITCHGEAR_ARTIFACTS_DIR", str(tmp_path / "shared"))
    monkeypatch.setenv("SWITCHGEAR_DATABASE_URL", "postgresql://db.example/switchgear")
    monkeypatch.setenv("SWITCHGEAR_QUEUE_BACKEND", "procrastinate")
    settings = temporary_settings(tmp_path / "trial")
    assert settings.artifacts_dir == tmp_path / "trial" / "artifacts"
    assert settings.database_url == f"sqlite:///{tmp_path}/trial/switchgear.db"
    assert settings.queue_backend == "builtin"


def test_a_trial_that_fails_names_no_command_for_a_run_that_is_gone(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words")
    broken = ("upper=upper-faulty", "upper.settings.mode=raise", "upper.fallback=", "upper.then=park")
    switchgear("config", "set", *broken, "-m", "Break it", "--activate")
    switchgear("activations", "watch")
    tried = switchgear.run("modules", "try", "upper-faulty", "one.txt", expect=3)
    assert "one.txt with upper-faulty for upper: on hold" in tried.stdout
    assert "raised an error" in tried.stdout
    assert "runs retry" not in tried.stdout
    trial = switchgear.json("modules", "try", "upper-faulty", "one.txt", expect=3)
    assert trial["run"]["why"]["next_actions"] == []


def test_a_module_that_cannot_be_used_is_not_tried_and_its_repair_is_named(switchgear: CommandsInProcess) -> None:
    write(switchgear.folder, one="first words")
    tried = switchgear.run("modules", "try", "upper-nobinary", "one.txt", expect=1)
    assert tried.stdout == ""  # no fallback ran in its place
    assert "upper-nobinary cannot be used here" in tried.stderr
    assert "module.missing_binary" in tried.stderr
    (module,) = [one for one in switchgear.json("modules", "list") if one["id"] == "upper-nobinary"]
    assert module["why"]["facts"]["fix"] in tried.stderr

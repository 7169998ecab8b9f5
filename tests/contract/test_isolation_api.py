"""ISOLATION of a whole instance: what is demanded holds for every module, is shown, and is never accepted in vain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from factories.instance import running, settings_for
from factories.isolation import measured, needs_level
from switchgear.bootstrap import build
from switchgear.domain.errors import Code
from switchgear.domain.stage import IsolationMissing, IsolationReport, Measure

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("level", ["L1", "L2", "L3"])
async def test_a_level_that_is_demanded_holds_for_every_module_and_is_shown(
    home: Path, environment: Mapping[str, str], level: str
) -> None:
    needs_level(level)
    async with running(settings_for(home, isolation=level), environment, with_worker=True) as instance:
        sent = await instance.send(b"some words")
        run = await instance.get(f"/runs/{sent['run']['id']}?wait=30")
        status = await instance.get("/status")
        pools = instance.application.pools.describe()

    assert run["status"] == "succeeded", run
    assert status["isolation"]["level"] == level
    assert [worker["isolation"] for worker in status["workers"]] == [level]
    assert {one["name"] for one in status["isolation"]["measures"]} == set(measured())
    assert {pool["level"] for pool in pools} == {level}


async def test_a_level_that_cannot_be_held_stops_the_start(
    home: Path, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def without_landlock(_: object) -> IsolationReport:
        return IsolationReport("L1", (Measure("files_enclosed", False, "the kernel has no Landlock"),))

    monkeypatch.setattr("switchgear.bootstrap.probe_isolation", without_landlock)
    application = build(settings_for(home, isolation="L2"), environment=environment)
    try:
        with pytest.raises(IsolationMissing, match="files_enclosed: the kernel has no Landlock") as caught:
            await application.start()
    finally:
        await application.stop()

    assert caught.value.code is Code.MODULE_ISOLATION


async def test_what_the_instance_keeps_is_private_wherever_the_settings_put_it(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    settings = settings_for(
        tmp_path / "home", database_url=f"sqlite:///{elsewhere}/data.db", secrets_dirs=(tmp_path / "secrets",)
    )

    private = build(settings, environment=environment).pools.surroundings.private

    assert {tmp_path / "home", elsewhere / "data.db", elsewhere / "data.db-wal", tmp_path / "secrets"} <= set(private)


async def test_a_module_that_hangs_in_open_is_named_before_the_time_for_warming_is_over(
    home: Path, environment: Mapping[str, str]
) -> None:
    hanging = {"stage_id": "upper", "module_id": "upper-faulty", "settings": {"open": "hang"}}
    alone = {"stage_id": "upper", "chain": [], "then": "fail"}
    async with running(settings_for(home, warm_timeout_s=10), environment, with_worker=True) as instance:
        content = {"base": "active", "selections": [hanging], "fallback_policies": [alone]}
        made = await instance.post("/configurations", content, expect=201)
        ended = await instance.activated(made["id"])

    assert ended["state"] == "rejected"
    assert ended["why"]["code"] == Code.ACTIVATION_WORKER_REFUSED
    assert "Module upper-faulty: open took more than 5 s." in ended["why"]["summary"]

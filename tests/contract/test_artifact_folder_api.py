"""What is answered while the folder of documents is another one. RELIABILITY 23, 31"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx2
import pytest

from factories.faults import Faults
from switchgear.bootstrap import build
from switchgear.core.settings import Settings
from switchgear.domain.errors import Code
from switchgear.ingestion.artifact_folder import MARKER, ArtifactsElsewhere
from switchgear.interface.server import create_server

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


async def test_a_server_whose_database_comes_late_says_that_the_folder_is_another_one_until_it_is_not(
    settings: Settings, environment: Mapping[str, str]
) -> None:
    settings.artifacts_dir.mkdir(parents=True)
    (settings.artifacts_dir / MARKER).write_text("ins_another art_another\n")
    away = Faults(at=1, armed=True)
    application = build(settings, environment=environment, wrap=away.wrap, with_worker=False)
    await application.start()
    try:
        async with asyncio.timeout(60):
            while not isinstance(application.trouble, ArtifactsElsewhere):
                await asyncio.sleep(0.02)
        transport = httpx2.ASGITransport(app=create_server(application))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/readyz")).status_code == 503
            headers = {"Authorization": "Bearer any"}
            refused = await client.get("/api/v1/status", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (503, Code.SYSTEM_ARTIFACTS_ELSEWHERE)
            assert "belongs to another instance" in refused.json()["detail"]
            (settings.artifacts_dir / MARKER).unlink()
            async with asyncio.timeout(60):
                await application.is_up.wait()
            assert (await client.get("/readyz")).json() == {"ready": True}
    finally:
        await application.stop()


async def test_at_the_start_it_is_refused(settings: Settings, environment: Mapping[str, str]) -> None:
    settings.artifacts_dir.mkdir(parents=True)
    (settings.artifacts_dir / MARKER).write_text("ins_another art_another\n")
    application = build(settings, environment=environment, with_worker=False)
    with pytest.raises(ArtifactsElsewhere, match="belongs to another instance"):
        await application.start()
    await application.stop()

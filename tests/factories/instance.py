"""A whole instance in this process, with the tiny pipeline, and a client that speaks to it without a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from switchgear.bootstrap import Application, build
from switchgear.core.settings import Settings
from switchgear.domain.access import SYSTEM, Role
from switchgear.interface.server import create_server

Answer = Any

#: For tests of what the two databases do differently.
ON_BOTH = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"], indirect=True)


@dataclass
class Instance:
    """A started application and one token for each role.

    Attributes:
        application: The services.
        app: The ASGI application.
        client: Sends requests to it; `http://test`.
        tokens: Role -> secret; `revoked` is one that was revoked.
        ids: Name of a token -> its id.
    """

    application: Application
    app: FastAPI
    client: httpx2.AsyncClient
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)

    async def request(
        self,
        method: str,
        path: str,
        *,
        role: str | None = "admin",
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx2.Response:
        """Send a request; paths that do not start with `//` are below `/api/v1`."""
        url = path[1:] if path.startswith("//") else f"/api/v1{path}"
        token = {} if role is None else {"Authorization": f"Bearer {self.tokens[role]}"}
        response = await self.client.request(method, url, headers={**token, **(headers or {})}, **options)
        if expect is not None:
            assert response.status_code == expect, (response.status_code, response.text[:2000])
        return response

    async def get(self, path: str, *, expect: int = 200, **options: Any) -> Answer:
        """The JSON answer of a GET."""
        return (await self.request("GET", path, expect=expect, **options)).json()

    async def post(self, path: str, body: Any = None, *, expect: int = 200, **options: Any) -> Answer:
        """The JSON answer of a POST."""
        return (await self.request("POST", path, json=body, expect=expect, **options)).json()

    async def raw(self, path: str, body: bytes, **options: Any) -> httpx2.Response:
        """POST bytes as JSON, however wrong they are."""
        return await self.request("POST", path, content=body, headers={"Content-Type": "application/json"}, **options)

    async def send(self, content: bytes, name: str = "a.txt", *, expect: int = 202, **options: Any) -> Answer:
        """Upload a document."""
        files = {"file": (name, content, "text/plain")}
        return (await self.request("POST", "/documents", files=files, expect=expect, **options)).json()

    async def configure(self, expect: int = 201, **selections: str) -> Answer:
        """Make a version from the active one with other modules."""
        items = [{"stage_id": stage, "module_id": module} for stage, module in selections.items()]
        return await self.post("/configurations", {"base": "active", "selections": items}, expect=expect)

    async def activated(self, reference: str, *, verb: str = "activate", **body: Any) -> Answer:
        """Activate a version and wait for the end of it."""
        activation = await self.post(f"/configurations/{reference}/{verb}", body, expect=202)
        return await self.get(f"/activations/{activation['id']}?wait=30")

    async def audit(self, action: str) -> list[Answer]:
        """Audit entries of one action, newest first."""
        found: list[Answer] = (await self.get(f"/audit?action={action}"))["items"]
        return found


def settings_for(home: Path, **values: Any) -> Settings:
    """Settings of a test instance."""
    given: dict[str, Any] = {"pipeline": "tiny", "workers": 2, "min_free_bytes": 0, "log_level": "error"}
    # Who stops an instance in which a document still waits is not to wait for it.
    given |= {"allow_inline": True, "shutdown_grace_s": 1}
    return Settings(home=home, **{**given, **values})


@asynccontextmanager
async def running(settings: Settings, environment: Mapping[str, str], *, with_worker: bool) -> AsyncIterator[Instance]:
    """Start an instance, make a token for each role, and stop it afterwards."""
    application = build(settings, environment=environment, with_worker=with_worker)
    await application.start()
    server = create_server(application)
    try:
        transport = httpx2.ASGITransport(app=server)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test", timeout=70) as client:
            instance = Instance(application, server.app, client)
            for name in [*Role, "revoked"]:
                role = Role.ADMIN if name == "revoked" else Role(name)
                token, secret = await application.access.create_token(f"test-{name}", role, None, SYSTEM)
                instance.tokens[str(name)], instance.ids[str(name)] = secret, token.id
            await application.access.revoke(instance.ids["revoked"], SYSTEM)
            yield instance
    finally:
        await application.stop()


def problem_of(response: httpx2.Response) -> Answer:
    """The problem of an answer, after checking what every problem must be."""
    assert response.headers["content-type"] == "application/problem+json", response.text[:500]
    assert len(response.content) <= 16 * 1024
    assert response.headers["x-request-id"]
    problem = json.loads(response.content)
    assert problem["status"] == response.status_code
    assert problem["type"] == f"/problems/{problem['code']}"
    assert problem["detail"]
    assert problem["title"]
    assert "Traceback" not in response.text
    return problem

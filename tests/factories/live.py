"""A whole server on a port of this machine, in a thread of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from factories.instance import settings_for
from switchgear.bootstrap import build
from switchgear.interface.cli.server_process import http_protocol
from switchgear.interface.server import create_server


class LiveServer:
    """A whole server in a thread of its own, on a free port of this machine."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        self._ready = threading.Event()
        self._home = home
        self._environment = environment
        self.url = ""
        self.token = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        application = build(settings_for(self._home), environment=self._environment)
        await application.start()
        self.token = (self._home / "admin.token").read_text().strip()
        configuration = uvicorn.Config(
            create_server(application), host="127.0.0.1", port=0, log_level="error", ws="none", http=http_protocol()
        )
        self._server = uvicorn.Server(configuration)
        serving = asyncio.create_task(self._server.serve())
        while not self._server.started:
            await asyncio.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"
        self._ready.set()
        await serving
        await application.stop()

    def __enter__(self) -> LiveServer:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(60)

"""A process that carries runs and serves no API. Source: INTERFACES 3 (`worker`), DESIGN 5 (queue backends)."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, nullcontext
from typing import TYPE_CHECKING

from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.garbage_collection import spare_from_collection, without_collection
from switchgear.interface.cli.module_wait import started
from switchgear.interface.cli.output import print_json_line, say, show
from switchgear.interface.cli.server_process import listen, loop_factory, server_of, url_of

if TYPE_CHECKING:
    from switchgear.bootstrap import Application
    from switchgear.core.settings import Settings


def run_worker(settings: Settings, *, as_json: bool = False) -> None:
    """Carry runs until SIGTERM or SIGINT; what is at work is finished or handed back.

    Raises:
        CommandFailed: It cannot start; the sentence says why and what to do.
    """
    if settings.workers == 0:
        raise CommandFailed("WORKERS is 0: there is nothing to do. Give --concurrency a number.")
    port = settings.metrics_port
    listener = None if port is None else listen(settings.host, port, "--metrics-port")
    with closing(listener) if listener else nullcontext(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_work(settings, listener, as_json=as_json))


async def _work(settings: Settings, listener: socket.socket | None, *, as_json: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with without_collection(for_good=True):
        from switchgear.bootstrap import build
        from switchgear.core.logging import configure_logging
        from switchgear.sdk.errors import SwitchgearError

        try:
            application = build(settings, with_sources=False)
        except SwitchgearError as error:
            raise CommandFailed(str(error)) from error
    configure_logging(log_format=settings.log_format, level=settings.log_level, redact=application.secrets.redact)
    async with _answering(application, listener):
        try:
            await started(application)
            _introduce(application, None if listener is None else f"{url_of(listener)}/metrics", as_json=as_json)
            spare_from_collection()
            await stop.wait()
        except SwitchgearError as error:
            raise CommandFailed(str(error)) from error
        finally:
            await application.stop()
    say("Stopped.")


@asynccontextmanager
async def _answering(application: Application, listener: socket.socket | None) -> AsyncIterator[None]:
    """Say how this process is, from the first moment until its last run is finished or handed back."""
    if listener is None:
        yield
        return
    from switchgear.interface.api.main import create_worker_app

    server = server_of(create_worker_app(application))
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
    try:
        yield
    finally:
        server.should_exit = True
        await serving


def _introduce(application: Application, metrics: str | None, *, as_json: bool) -> None:
    settings = application.settings
    if as_json:
        print_json_line({"worker": application.worker_id, "queues": list(settings.queues), "metrics": metrics})
    else:
        queues = ", ".join(settings.queues) or "all queues"
        show(f"Worker {application.worker_id} serves {queues}, {_runs(settings.workers)}.")
        if metrics is not None:
            show(f"It shows its metrics at {metrics} to whoever has a token with the role viewer.")
    sys.stdout.flush()


def _runs(number: int) -> str:
    return "one run at a time" if number == 1 else f"{number} runs at the same time"

"""A process that carries runs and serves nothing. Source: INTERFACES 3 (`worker`), DESIGN 5 (queue backends)."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING

from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.output import print_json_line, say, show
from switchgear.interface.cli.server_process import loop_factory

if TYPE_CHECKING:
    from switchgear.core.settings import Settings


def run_worker(settings: Settings, *, as_json: bool = False) -> None:
    """Carry runs until SIGTERM or SIGINT; what is at work is finished or handed back.

    Raises:
        CommandFailed: It cannot start; the sentence says why and what to do.
    """
    if settings.workers == 0:
        raise CommandFailed("WORKERS is 0: there is nothing to do. Give --concurrency a number.")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_work(settings, as_json=as_json))


async def _work(settings: Settings, *, as_json: bool) -> None:
    from switchgear.bootstrap import build
    from switchgear.core.logging import configure_logging
    from switchgear.sdk.errors import SwitchgearError

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        application = build(settings, with_sources=False)
        configure_logging(log_format=settings.log_format, level=settings.log_level, redact=application.secrets.redact)
        await application.start()
    except SwitchgearError as error:
        raise CommandFailed(str(error)) from error
    try:
        queues = ", ".join(settings.queues) or "all queues"
        if as_json:
            print_json_line({"worker": application.worker_id, "queues": list(settings.queues)})
        else:
            show(f"Worker {application.worker_id} serves {queues}, {_runs(settings.workers)}.")
        sys.stdout.flush()
        await stop.wait()
    finally:
        await application.stop()
    say("Stopped.")


def _runs(number: int) -> str:
    return "one run at a time" if number == 1 else f"{number} runs at the same time"

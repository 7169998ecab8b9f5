"""The server in this process: listens, says where, carries runs, and ends in order. Source: INTERFACES 3 (`serve`).

A taken port, an unwritable home, a newer schema are one sentence and exit code 1.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from switchgear.interface.cli.client import BASE, needs_certificates
from switchgear.interface.cli.errors import CommandFailed
from switchgear.interface.cli.garbage_collection import spare_from_collection, without_collection
from switchgear.interface.cli.instance_location import (
    TOKEN_FILE,
    admin_token,
    remove_server_file,
    write_server_file,
)
from switchgear.interface.cli.module_wait import started
from switchgear.interface.cli.output import print_json_line, printable, say, show
from switchgear.interface.cli.status_page import show_missing, show_problems, show_stage_rows

if TYPE_CHECKING:
    import uvicorn

    from switchgear.core.settings import Settings
    from switchgear.sdk.errors import SwitchgearError

#: How long open connections may go on after the signal, in seconds; event streams never end by themselves.
_CONNECTIONS_S: Final = 2
_BACKLOG: Final = 2048


def run_server(settings: Settings, *, as_json: bool = False) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CommandFailed: It cannot start; the sentence says why and what to do.
    """
    prepare_home(settings.home)
    listener = listen(settings.host, settings.port)
    with contextlib.closing(listener), asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, listener, as_json=as_json))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes the fastest event loop that is installed, without the library's own set-up of logging."""
    import uvicorn

    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()


def prepare_home(home: Path) -> None:
    """Make HOME, for the owner only, and see that it can be written.

    Raises:
        CommandFailed: It cannot.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        trial = home / f".write-{os.getpid()}"
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise CommandFailed(
            f"The home {home} cannot be written: {error.strerror}. Change its owner, or set SWITCHGEAR_HOME to another."
        ) from error


def listen(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a socket that listens; port 0 takes a free one. *option* is what chooses another port.

    Raises:
        CommandFailed: The port is taken, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error, option) from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error, option) from error
    return listener


def _cannot_listen(host: str, port: int, error: OSError, option: str) -> CommandFailed:
    return CommandFailed(
        f"Cannot listen on {host}:{port}: {error.strerror}. Stop what uses it, or choose another port with {option}."
    )


def url_of(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


async def _serve(settings: Settings, listener: socket.socket, *, as_json: bool) -> None:
    with without_collection(for_good=True):
        from switchgear.bootstrap import build
        from switchgear.core.logging import configure_logging, get_logger
        from switchgear.core.observability import EventName
        from switchgear.interface.server import create_server
        from switchgear.sdk.errors import SwitchgearError

        try:
            application = build(settings)
            configure_logging(
                log_format=settings.log_format, level=settings.log_level, redact=application.secrets.redact
            )
        except SwitchgearError as error:
            raise CommandFailed(str(error)) from error
        log = get_logger()
        server = server_of(create_server(application))
    url = url_of(listener)

    async def bring_up() -> None:
        await started(application)
        log.info(EventName.SERVER_STARTED, url=url)
        write_server_file(settings.home, url)
        try:
            await _introduce(settings, url, application.trouble, as_json=as_json)
        except OSError:  # whoever read the output is gone; the service goes on, and what is left unsaid goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        spare_from_collection()

    try:
        with _signals(server):
            await _serve_beside(server, listener, bring_up())
    except SwitchgearError as error:
        raise CommandFailed(str(error)) from error
    finally:
        remove_server_file(settings.home)
        await application.stop()
    log.info(EventName.SERVER_STOPPED, url=url)
    say("Stopped.")


async def _serve_beside(
    server: uvicorn.Server, listener: socket.socket, bringing_up: Coroutine[Any, Any, None]
) -> None:
    """Answer from the first moment on, while the application is brought up; raises what keeps it from coming up."""
    up = asyncio.create_task(bringing_up, name="bring-up")
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="serve")
    await asyncio.wait((up, serving), return_when=asyncio.FIRST_COMPLETED)
    if up.done() and up.exception() is not None:
        server.should_exit = True
    await serving
    up.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await up


def server_of(app: Any) -> uvicorn.Server:
    """Return a server that leaves signals to us, because the application has to be stopped after the connections."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """Capture none."""
            yield

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_CONNECTIONS_S,
        ws="none",
        http=http_protocol(),
    )
    return Server(config)


def http_protocol() -> Any:
    """Return the class that reads HTTP: it refuses what it cannot read as a problem, like all else."""
    import httptools
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from switchgear.interface.api.frame import no_request, unknown_method

    class Protocol(HttpToolsProtocol):
        def send_400_response(self, msg: str) -> None:
            """Answer what the parser has just refused; the application is not asked."""
            is_method = isinstance(sys.exception(), httptools.HttpParserInvalidMethodError)
            self.transport.write(unknown_method() if is_method else no_request())
            self.transport.close()

    return Protocol


@contextlib.contextmanager
def _signals(server: uvicorn.Server) -> Iterator[None]:
    """The first signal ends in order, the second at once."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if server.should_exit:
            server.force_exit = True
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _introduce(settings: Settings, url: str, trouble: SwitchgearError | None, *, as_json: bool) -> None:
    """Say where it is, with what, and what is missing; the token itself is shown on a terminal only."""
    status, modules = await _look(settings, url)
    token_path = settings.home / TOKEN_FILE
    if as_json:
        words = {"url": url, "home": str(settings.home), "token_file": str(token_path)}
        print_json_line({**words, "status": status, "trouble": None if trouble is None else trouble.message})
        return
    show(f"Switchgear serves at {url}")
    show(f"home    {settings.home}")
    show(f"token   {token_path}{_about_token(settings, is_up=trouble is None)}")
    if status is None:
        why = "`switchgear status` says why." if trouble is None else f"{trouble.message} The server goes on trying."
        show(f"active  not known yet. {printable(why)}")
    else:
        active = status.get("active")
        show(f"active  {active['label']} {printable(active['message'])}" if active else "active  no configuration yet")
        show()
        show_stage_rows(status["stages"])
        if modules:
            show("\nModules that cannot be used:")
            show_missing(modules)
        show_problems((stop["summary"] for stop in status["stops"] if stop["next_actions"]), status)
    sys.stdout.flush()


def _about_token(settings: Settings, *, is_up: bool) -> str:
    if not (settings.home / TOKEN_FILE).exists():
        return "" if is_up else ", which is made once the database can be used"
    return f"  {admin_token(settings.home)}" if sys.stdout.isatty() else ""


async def _look(settings: Settings, url: str) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    import httpx2

    try:
        headers = {"Authorization": f"Bearer {admin_token(settings.home)}"}
        options: dict[str, Any] = {"trust_env": False, "verify": needs_certificates(url), "timeout": 30}
        async with httpx2.AsyncClient(base_url=url, headers=headers, **options) as client:
            status = await client.get(f"{BASE}/status")
            modules = await client.get(f"{BASE}/modules", params={"limit": 200})
            if status.status_code != 200 or modules.status_code != 200:
                return None, []
            items: list[dict[str, Any]] = modules.json()["items"]
            return status.json(), [one for one in items if one["status"] in ("unavailable", "disabled")]
    except (CommandFailed, httpx2.TransportError):
        return None, []

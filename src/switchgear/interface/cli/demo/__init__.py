"""`switchgear demo`: everything in a minute, with a real server and the bundled sample documents.

Source: INTERFACES 3. Nothing is staged: the server is a process of its own, the module really fails, the drain really
waits.
"""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.output import AsJson, print_json, say, show

app = typer.Typer()


@app.command("demo", epilog="Example: switchgear demo --no-serve")
def demo(
    keep: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the instance in this new folder.")] = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="End by itself instead of serving on.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run real invoices through the pipeline, break a module, swap it, roll back.

    It happens in a temporary instance; afterwards the server goes on until Ctrl-C, unless --no-serve.
    """
    from switchgear.interface.cli.demo.server import DemoServer
    from switchgear.interface.cli.demo.story import Story

    with ExitStack() as stack:
        stack.enter_context(_ended_like_ctrl_c())
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="switchgear-demo-")))
        else:
            folder = _new_folder(keep)
        server = stack.enter_context(DemoServer(folder))
        api = stack.enter_context(server.connect())
        told = Story(api, folder, tell=say if as_json else show).tell_all()
        if as_json:
            print_json(told)
        _goodbye(server, keep, no_serve=no_serve)
        if not no_serve:
            server.wait()


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end it as Ctrl-C does: the server is stopped and the temporary folder removed.

    Only Ctrl-C is known to the event loop: it leaves off in order, where an exception in its middle would break what
    runs there, with a traceback.
    """
    told: list[int] = []

    def end(number: int, _: object) -> None:
        told.append(number)
        signal.raise_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under `nohup`
            signal.signal(number, end)
    try:
        yield
    except KeyboardInterrupt:
        if not told:
            raise
    if told:  # also where Ctrl-C is the usual end
        raise SystemExit(128 + told[0])


def _new_folder(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise WrongUse(f"{folder} is not empty. Choose a new folder for --keep.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def _goodbye(server: object, keep: Path | None, *, no_serve: bool) -> None:
    say()
    if keep is not None:
        say(f"This instance stays in {keep}: cd {keep} && switchgear serve")
    say("An instance of your own: switchgear init billing && cd billing && switchgear serve")
    if not no_serve:
        say(f"{server} until Ctrl-C.")

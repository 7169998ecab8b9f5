"""How the commands speak REST: to a server that is named, to the live server of the instance, or to the same
application in this process for the time of the command. Source: INTERFACES 3.
"""

from __future__ import annotations

import asyncio
import mimetypes
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from switchgear.interface.cli.errors import CommandFailed, ProblemAnswer, WrongUse
from switchgear.interface.cli.garbage_collection import without_collection
from switchgear.interface.cli.instance_location import (
    TOKEN_FILE,
    LiveServer,
    admin_token,
    live_server,
    require_instance,
)
from switchgear.interface.cli.module_wait import started
from switchgear.interface.cli.output import first_of

if TYPE_CHECKING:
    import httpx2

    from switchgear.core.settings import Settings

T = TypeVar("T")

BASE: Final = "/api/v1"
#: Longest wait for an answer in seconds; a long poll takes up to 60.
_TIMEOUT_S: Final = 90.0
_PAGE: Final = 200
_CHUNK: Final = 1 << 18
_LONGEST_NAME: Final = 255


class Api:
    """The REST API as blocking calls; answers are JSON values, refusals are raised as `ProblemAnswer`.

    Attributes:
        where: The URL that is spoken to, for sentences.
        in_process: Whether the application lives in this process only as long as the command.
    """

    def __init__(self, client: httpx2.AsyncClient, runner: asyncio.Runner, where: str, *, in_process: bool) -> None:
        self._client = client
        self._runner = runner
        self.where = where
        self.in_process = in_process

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run asynchronous work to its end."""
        return self._runner.run(work)

    async def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request below `/api/v1`, or to *path* itself when it starts with `//`.

        Raises:
            ProblemAnswer: The answer is a refusal.
            CommandFailed: There is no answer.
        """
        import httpx2

        url = path[1:] if path.startswith("//") else BASE + path
        try:
            response = await self._client.request(method, url, **options)
        except httpx2.TimeoutException as error:
            raise CommandFailed(f"{self.where} did not answer within {_TIMEOUT_S:.0f} s. Try again.") from error
        except httpx2.TransportError as error:
            reason = str(error).rstrip(".") or "the connection was cut"
            raise CommandFailed(f"{self.where} does not answer: {reason}. Is the server running?") from error
        if response.status_code >= 400:
            raise ProblemAnswer(response.status_code, _problem(response), response.headers.get("retry-after"))
        return response

    def raw(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send one request and return the whole response."""
        return self.run(self.send(method, path, **options))

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON answer of a GET; parameters that are None are left out."""
        return self.raw("GET", path, params=_given(parameters)).json()

    def post(self, path: str, body: Mapping[str, Any] | None = None, **parameters: Any) -> Any:
        """The JSON answer of a POST."""
        return self.raw("POST", path, json=body, params=_given(parameters)).json()

    def patch(self, path: str, body: Mapping[str, Any], *, etag: str | None = None) -> Any:
        """The JSON answer of a PATCH, under the condition that the state is still *etag*."""
        return self.raw("PATCH", path, json=body, headers={"If-Match": etag} if etag else {}).json()

    def items(self, path: str, limit: int | None = None, **parameters: Any) -> Iterator[Any]:
        """Walk through a list, page by page, up to *limit* items; None means all."""
        left, cursor = limit, None
        while left is None or left > 0:
            page = self.get(path, limit=min(left or _PAGE, _PAGE), cursor=cursor, **parameters)
            yield from page["items"]
            left = None if left is None else left - len(page["items"])
            cursor = page.get("next_cursor")
            if not cursor:
                return

    def newest(self, path: str, limit: int, **parameters: Any) -> list[Any]:
        """The first *limit* items of a list that begins with the newest; says when there are more."""
        return first_of(self.items(path, limit + 1, **parameters), limit)

    def list(self, path: str, limit: int | None = None, **parameters: Any) -> list[Any]:
        """Up to *limit* items of a list."""
        return list(self.items(path, limit, **parameters))

    async def upload(self, path: Path, *, again: bool = False) -> Any:
        """Send a file; `duplicate_of` in the answer says that its bytes were known."""
        size = await asyncio.to_thread(os.path.getsize, path)
        return await self.send_document(_chunks(path), path.name, size=size, again=again)

    async def send_document(
        self, stream: AsyncIterator[bytes], name: str, *, size: int | None = None, again: bool = False
    ) -> Any:
        """Send a document as it comes, without holding it in memory; name and type are for display only.

        A server that refuses a document while it comes cuts the connection, and its answer can be lost.
        """
        sent = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal sent
            async for chunk in stream:
                sent += len(chunk)
                yield chunk

        headers = {"Content-Type": mimetypes.guess_type(name)[0] or "application/octet-stream"}
        if size is not None:
            headers["Content-Length"] = str(size)
        shown = name.encode("utf-8", "replace").decode()[-_LONGEST_NAME:]
        parameters = _given({"name": shown, "again": again or None})
        try:
            return (await self.send("POST", "/documents", content=counted(), headers=headers, params=parameters)).json()
        except ProblemAnswer:
            raise
        except CommandFailed as cut:
            await self._check_size(max(size or 0, sent), cut)
            raise

    async def _check_size(self, size: int, cut: CommandFailed) -> None:
        """Raise the refusal that was lost when a document is larger than the server takes, else nothing."""
        from switchgear.domain.errors import Code, larger_than

        try:
            limit = (await self.send("GET", "/me")).json().get("max_upload_bytes")
        except CommandFailed:
            return
        if limit is not None and size > limit:
            problem = {"code": str(Code.REQUEST_TOO_LARGE), "status": 413, "detail": larger_than(limit)}
            raise ProblemAnswer(413, problem) from cut


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as stream:
        while chunk := await asyncio.to_thread(stream.read, _CHUNK):
            yield chunk


@contextmanager
def connect(*, carry_runs: bool = False) -> Iterator[Api]:
    """Open the API for one command.

    Args:
        carry_runs: When the application has to live in this process, let it carry runs too.

    Raises:
        WrongUse: SWITCHGEAR_URL or SWITCHGEAR_TOKEN can be none.
        CommandFailed: There is no instance, or it cannot be opened.
    """
    with asyncio.Runner() as runner:
        url = os.environ.get("SWITCHGEAR_URL")
        if url:
            _check_address(url)
            yield from _remote(runner, url.rstrip("/"), _token_of_environment())
            return
        settings = require_instance()
        server = live_server(settings.home)
        try:
            if server is not None and runner.run(_answers(server)):
                yield from _remote(runner, server.url, _token_for(server, settings, runner))
                return
            yield from _in_process(runner, require_instance({"source": ()}), carry_runs)
        except ProblemAnswer as refused:
            raise _with_recovery(refused, settings) from None


def _check_address(url: str) -> None:
    """Raise `WrongUse` when *url* names no server that can be spoken to, or holds what must not be printed."""
    import httpx2

    if "@" in url:
        raise WrongUse(
            "SWITCHGEAR_URL must hold no user and no password: remove what stands before the @. Who speaks is said by "
            "SWITCHGEAR_TOKEN."
        )
    try:
        parts, _port = httpx2.URL(url), urlsplit(url).port  # each refuses what the other one lets through
        fits = parts.scheme in ("http", "https") and parts.host != ""
    except (httpx2.InvalidURL, ValueError):
        fits = False
    if not fits:
        raise WrongUse(
            "SWITCHGEAR_URL holds no address of a server. Set it to one like http://127.0.0.1:8420, "
            "or unset it for the instance here."
        )


def _with_recovery(refused: ProblemAnswer, settings: Settings) -> ProblemAnswer:
    """Whoever can write HOME is admin: a refusal of the instance's own token says how to get another."""
    if refused.code != "access.unauthenticated" or os.environ.get("SWITCHGEAR_TOKEN"):
        return refused
    path = settings.home / TOKEN_FILE
    detail = (
        f"The instance's own admin token was revoked, or is not of this database. To get another, delete {path} and "
        "start the server again; while no server runs, any command makes it."
    )
    return ProblemAnswer(refused.status, {**(refused.problem or {}), "detail": detail})


@contextmanager
def connect_to(url: str, token: str) -> Iterator[Api]:
    """Open the API of the server at *url*."""
    with asyncio.Runner() as runner:
        yield from _remote(runner, url, token)


def _remote(runner: asyncio.Runner, url: str, token: str) -> Iterator[Api]:
    import httpx2

    client = runner.run(_made(lambda: httpx2.AsyncClient(**_options(url, token))))
    try:
        yield Api(client, runner, url, in_process=False)
    finally:
        runner.run(client.aclose())


def _in_process(runner: asyncio.Runner, settings: Settings, carry_runs: bool) -> Iterator[Api]:
    context = application_here(settings, carry_runs=carry_runs, token=lambda: _token_of(settings))
    client = runner.run(context.__aenter__())
    try:
        yield Api(client, runner, f"the instance in {settings.home}", in_process=True)
    finally:
        runner.run(context.__aexit__(None, None, None))


@asynccontextmanager
async def application_here(
    settings: Settings, *, carry_runs: bool, token: Callable[[], str]
) -> AsyncIterator[httpx2.AsyncClient]:
    """Start the application in this process and give a client that speaks to it.

    Args:
        settings: Of the instance.
        carry_runs: Whether it runs documents too.
        token: Gives the credential, once the application has started.

    Raises:
        CommandFailed: It cannot start; the sentence says why.
    """
    import httpx2

    with without_collection():
        from switchgear.bootstrap import build
        from switchgear.core.logging import configure_logging
        from switchgear.interface.server import create_server
        from switchgear.sdk.errors import SwitchgearError

        try:
            application = build(settings, with_worker=carry_runs)
        except SwitchgearError as error:
            raise CommandFailed(str(error)) from error
        configure_logging(level="error", redact=application.secrets.redact)
        server = create_server(application)
    try:
        await started(application)
    except SwitchgearError as error:
        raise CommandFailed(str(error)) from error
    try:
        if application.trouble is not None:
            raise CommandFailed(str(application.trouble))
        transport = httpx2.ASGITransport(app=server)
        async with httpx2.AsyncClient(transport=transport, **_options("http://in-process", token())) as client:
            yield client
    finally:
        await application.stop()


def _options(url: str, token: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}", "User-Agent": "switchgear-cli"}
    is_here = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost", "in-process")  # never through a proxy
    return {
        "base_url": url,
        "headers": headers,
        "timeout": _TIMEOUT_S,
        "trust_env": not is_here,
        "verify": needs_certificates(url),
    }


def needs_certificates(url: str) -> bool:
    """Whether the authorities that the machine trusts are to be read, which takes longer than most answers."""
    return urlsplit(url).scheme != "http"


async def _made(make: Any) -> Any:
    return make()


async def _answers(server: LiveServer) -> bool:
    import httpx2

    try:
        async with httpx2.AsyncClient(trust_env=False, verify=needs_certificates(server.url), timeout=5) as client:
            return (await client.get(f"{server.url}/livez")).status_code == 200
    except httpx2.TransportError:
        return False


def _token_of(settings: Settings) -> str:
    return _sane_token(os.environ.get("SWITCHGEAR_TOKEN")) or admin_token(settings.home)


def _token_for(server: LiveServer, settings: Settings, runner: asyncio.Runner) -> str:
    """As `_token_of`; that a server has made none yet has a cause, which it tells whoever asks without one."""
    try:
        return _token_of(settings)
    except CommandFailed:
        trouble = runner.run(_trouble_of(server))
        if trouble is None:
            raise
        raise trouble from None


async def _trouble_of(server: LiveServer) -> ProblemAnswer | None:
    """Why *server* cannot even verify who asks; None when it can."""
    import httpx2

    try:
        async with httpx2.AsyncClient(trust_env=False, verify=needs_certificates(server.url), timeout=15) as client:
            answer = await client.get(f"{server.url}/readyz", params={"verbose": "true"})
    except httpx2.TransportError:
        return None
    return ProblemAnswer(503, _problem(answer)) if answer.status_code == 503 else None


def _token_of_environment() -> str:
    token = _sane_token(os.environ.get("SWITCHGEAR_TOKEN"))
    if not token:
        raise WrongUse("SWITCHGEAR_URL is set, SWITCHGEAR_TOKEN is not. Set it to a token of that server.")
    return token


def _sane_token(token: str | None) -> str | None:
    """What may stand in a header; raises `WrongUse` for anything else."""
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise WrongUse("SWITCHGEAR_TOKEN is no token: it has characters that none has. Copy it anew.")
    return token


def _given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: ("true" if value else "false") if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }


def _problem(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict):
        return problem
    return {"detail": f"The server answered {response.status_code} without saying why. Is this a Switchgear server?"}

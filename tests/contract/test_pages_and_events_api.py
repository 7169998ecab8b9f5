"""Pages for people, metrics, and the stream of events."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from factories.instance import Instance, running, settings_for
from factories.live import LiveServer
from switchgear.core.settings import FolderSource

pytestmark = pytest.mark.anyio


async def test_the_start_page_shows_details_only_to_whoever_has_a_token(shared: Instance) -> None:
    plain = await shared.request("GET", "//", role=None, expect=200)
    assert "Switchgear" in plain.text
    assert "upper-text" not in plain.text
    await shared.request("GET", "//?sign_in=true", role=None, expect=401)
    password = base64.b64encode(f"me:{shared.tokens['viewer']}".encode()).decode()
    full = await shared.request("GET", "//", role=None, headers={"Authorization": f"Basic {password}"}, expect=200)
    assert "upper-text" in full.text
    assert "v1" in full.text
    await shared.request("GET", "/status", role=None, headers={"Authorization": f"Basic {password}"}, expect=401)


async def test_the_start_page_says_why_a_stage_is_degraded_and_what_waits(instance: Instance) -> None:
    degraded = await instance.configure(upper="upper-nobinary")
    await instance.activated(degraded["id"], accept_degraded=True)
    waiting = await instance.configure(count="count-inline")
    await instance.send(b"holds the drain back")
    assert await instance.application.repository.claim("wrk_test", 60)
    await instance.post(f"/configurations/{waiting['id']}/activate", {"message": "Try <b>the</b> other"}, expect=202)

    bearer = {"Authorization": f"Bearer {instance.tokens['viewer']}"}
    text = (await instance.request("GET", "//", role=None, headers=bearer, expect=200)).text

    assert "fallback serves" in text
    assert "apt-get install switchgear-no-such-binary" in text
    assert "v2" in text
    assert "v3 waits" in text
    assert "<b>the</b>" not in text


async def test_the_documentation_and_the_runbook_load_nothing_from_elsewhere(shared: Instance) -> None:
    for path in ("//", "//docs", "//problems", "//problems/parked.review"):
        response = await shared.request("GET", path, role=None, expect=200)
        assert response.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert "src=" not in response.text
        assert "http" not in response.text.replace("https://fastapi", "")
    documentation = (await shared.request("GET", "//docs", role=None, expect=200)).text
    assert "<code>Idempotency-Key</code>" in documentation
    assert '<td data-head="Needs">operator or the scope ingest</td>' in documentation
    entry = await shared.get("//problems/parked.review", role=None, headers={"Accept": "application/json"})
    assert entry["code"] == "parked.review"


@pytest.mark.parametrize("path", ["//docs", "//problems"])
async def test_on_a_narrow_screen_the_cells_of_a_table_stand_below_each_other(shared: Instance, path: str) -> None:
    text = (await shared.request("GET", path, role=None, expect=200)).text
    narrow = text.partition("@media(max-width:40rem){")[2]
    assert narrow.startswith("thead{display:none}tr,td{display:block}")
    assert "td::before{content:attr(data-head)" in narrow  # each with the head of its column
    assert "overflow-wrap:anywhere" in narrow
    assert text.count("<td data-head=") == text.count("<td") > 0


async def test_metrics_show_the_present_state(shared: Instance) -> None:
    text = (await shared.request("GET", "//metrics", role="viewer", expect=200)).text
    assert 'switchgear_configuration_info{digest="' in text
    assert 'switchgear_module_available{module="upper-text",stage="upper"} 1.0' in text
    assert 'switchgear_module_available{module="upper-nobinary",stage="upper"} 0.0' in text
    assert "switchgear_disk_free_bytes" in text
    assert "run_" not in text.replace("run_duration", "")


async def test_status_has_everything_for_one_glance(shared: Instance) -> None:
    status = await shared.get("/status", role="viewer")
    assert status["active"]["label"] == "v1"
    assert [stage["stage_id"] for stage in status["stages"]] == ["load", "upper", "count", "check", "send"]
    assert status["isolation"]["level"] in ("L0", "L1", "L2", "L3")
    assert status["disk_free_bytes"] > 0
    assert any("worker" in warning for warning in status["warnings"])


async def test_a_source_that_is_not_there_is_a_stop_with_its_name(home: Path, environment: Mapping[str, str]) -> None:
    away = FolderSource(kind="folder", path=home / "away")
    async with running(settings_for(home, source=(away,)), environment, with_worker=False) as instance:
        [folder] = instance.application.folders
        await folder.follow()
        status = await instance.get("/status")

    [stop] = [each for each in status["stops"] if each["code"] == "system.source_unreadable"]
    assert str(home / "away") in stop["summary"]
    assert stop["summary"] in status["warnings"]


async def test_a_document_goes_through_and_its_result_can_be_pulled(working: Instance) -> None:
    sent = await working.send(b"two words")
    run = await working.get(f"/runs/{sent['run']['id']}?wait=60")
    assert run["status"] == "succeeded"
    assert run["configuration_version"] == 1
    assert [stage["stage_id"] for stage in run["stages"]] == ["load", "upper", "count", "check", "send"]
    assert all(attempt["outcome"] == "succeeded" for attempt in run["attempts"])
    result = await working.get(f"/documents/{sent['document']['id']}/invoice")
    assert result["words"] == 2
    table = await working.request(
        "GET", f"/documents/{sent['document']['id']}/invoice", headers={"Accept": "text/csv"}, expect=200
    )
    assert table.headers["content-type"].startswith("text/csv")
    pulled = await working.get("/invoices")
    assert [item["run_id"] for item in pulled["items"]] == [run["id"]]
    later = await working.get(f"/invoices?after={pulled['next_cursor']}")
    assert later["items"] == []
    again = await working.post(f"/runs/{run['id']}/retry", {"configuration": "active", "from": "start"}, expect=202)
    assert again["retry_of"] == run["id"]
    shown = await working.get("/configurations/v1")
    assert shown["runs"]["succeeded"] >= 1
    assert (await working.get("/schemas/invoice"))["properties"]["words"]


@pytest.fixture
def live(tmp_path_factory: pytest.TempPathFactory, environment: Mapping[str, str]) -> Iterator[LiveServer]:
    with LiveServer(tmp_path_factory.mktemp("live") / "home", environment) as server:
        yield server


def _events(lines: Iterator[str]) -> Iterator[tuple[str, str | None, Any]]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "event" in fields:
            yield fields["event"], fields.get("id"), json.loads(fields["data"])
            fields = {}
        else:
            fields = {}


def test_a_stream_gives_each_audit_entry_once_and_goes_on_where_it_stopped(live: LiveServer) -> None:
    token = {"Authorization": f"Bearer {live.token}"}
    with httpx2.Client(base_url=f"{live.url}/api/v1", headers=token, timeout=30) as client:
        known = client.get("/audit?limit=200").json()["items"]
        with client.stream("GET", "/events/stream", headers={"Last-Event-ID": "1"}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            events = _events(stream.iter_lines())
            seen = [next(events) for _ in range(len(known) - 1)]
            assert [int(number or 0) for _, number, _ in seen] == list(range(2, len(known) + 1))
            client.post("/tokens", json={"name": "seen", "role": "viewer"}).raise_for_status()
            made = next(event for event in events if event[0] == "audit")
            assert made[2]["action"] == "token.created"
        for query, headers in (("", {"Last-Event-ID": "0"}), ("?after=0", {})):
            with client.stream("GET", f"/events/stream{query}", headers=headers) as stream:
                assert next(_events(stream.iter_lines()))[:2] == ("audit", "1")
        wrong = client.get("/events/stream", headers={"Last-Event-ID": "x"})
        assert wrong.status_code == 422


@pytest.mark.parametrize("change", ["revoked", "lowered"])
def test_a_stream_shows_nothing_more_from_the_moment_its_token_opens_less(live: LiveServer, change: str) -> None:
    token = {"Authorization": f"Bearer {live.token}"}
    with httpx2.Client(base_url=f"{live.url}/api/v1", timeout=30) as client:
        made = client.post("/tokens", json={"name": change, "role": "viewer"}, headers=token)
        path, tag = f"/tokens/{made.json()['token']['id']}", {"If-Match": made.headers["etag"]}
        watching = {"Authorization": f"Bearer {made.json()['secret']}", "Last-Event-ID": "1"}
        with client.stream("GET", "/events/stream", headers=watching) as stream:
            events = _events(stream.iter_lines())
            next(data for _, _, data in events if made.json()["token"]["id"] in data.get("subjects", ()))
            if change == "revoked":
                client.delete(path, headers=token | tag).raise_for_status()
            else:
                client.patch(path, json={"role": "ingest"}, headers=token | tag).raise_for_status()

            assert [data["action"] for name, _, data in events if name == "audit"] == []


# --- methods ---


def test_head_is_answered_on_every_route_as_get_is_but_without_a_body(live: LiveServer) -> None:
    headers = {"Authorization": f"Bearer {live.token}"}
    with httpx2.Client(base_url=live.url, headers=headers, timeout=20) as client:
        document = client.post("/api/v1/documents", files={"file": ("a.txt", b"words", "text/plain")}).json()[
            "document"
        ]
        known = {"document_id": document["id"], "ref": "active", "module_id": "load-text", "stage_id": "load"}
        paths = [path for path, item in client.get("/openapi.json").json()["paths"].items() if "get" in item]
        for path in [*paths, "/", "/nothing"]:
            url = path.format_map(defaultdict(lambda: "none", known))
            head = client.head(url)
            with client.stream("GET", url) as got:
                seen = (got.status_code, got.headers["content-type"], got.headers.get("content-disposition"))
            assert (head.status_code, head.headers["content-type"], head.headers.get("content-disposition")) == seen
            assert head.content == b""
        file = client.head(f"/api/v1/documents/{document['id']}/file")
        assert (file.status_code, file.headers["content-length"]) == (200, "5")
        assert client.head("/api/v1/runs/none/cancel").status_code == 405
        assert client.put("/api/v1/runs").headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /api/v1/configurations HTTP/1.1\r\nHost: here\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: here\r\n\r\n",
        b"GET /livez?" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: here\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: here\r\nX-Any: CANARY\x7f\r\n\r\n",
        b"POST /api/v1/configurations HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
    ],
    ids=["length", "version", "path", "header", "chunk"],
)
def test_what_is_no_http_is_answered_with_a_problem(live: LiveServer, sent: bytes) -> None:
    status, headers, problem = _raw(live, sent + b"\r\n\r\n")
    assert status == "HTTP/1.1 400 Bad Request"
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert headers["x-request-id"].startswith("req_")
    assert (problem["status"], problem["code"]) == (400, "request.invalid")
    assert "canary" not in json.dumps([headers, problem]).lower()


def _raw(live: LiveServer, sent: bytes) -> tuple[str, dict[str, str], Any]:
    """Status line, headers and problem that answer what is sent over a plain connection."""
    address = urlsplit(live.url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):  # it may be refused before all of it is there
            connection.sendall(sent)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    assert headers["content-length"] == str(len(body))
    return first, headers, json.loads(body)


def test_a_method_that_is_none_is_a_problem_that_names_those_there_are(live: LiveServer) -> None:
    first, headers, problem = _raw(live, b"BREW / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert first == "HTTP/1.1 405 Method Not Allowed"
    assert headers["content-type"] == "application/problem+json"
    assert headers["allow"] == "delete, get, head, patch, post"
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    assert problem["code"] == "request.method_not_allowed"
    assert problem["request_id"].lower() == headers["x-request-id"]

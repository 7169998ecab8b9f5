"""Hostile and careless requests: a problem at once, nothing changed. RELIABILITY rows 40, 43, 49, 50, 55-58."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from factories.instance import Instance, problem_of

pytestmark = pytest.mark.anyio

CANARY = "canary-value-93127"


def _deep(levels: int) -> bytes:
    return b'{"selections":' + b"[" * levels + b"]" * levels + b"}"


MALFORMED = {
    "no JSON": b"{selections: 1}",
    "half a body": b'{"selections": [',
    "NaN": b'{"selections": [], "message": NaN}',
    "infinity": b'{"selections": [], "message": -Infinity}',
    "a number beyond all": b'{"selections": [], "message": 1e999}',
    "duplicate keys": b'{"selections": [], "message": "a", "message": "b"}',
    "duplicate keys in settings": (
        b'{"selections": [{"stage_id": "load", "module_id": "load-text", "settings": {"a": 1, "a": 2}}]}'
    ),
    "5,000 digits": b'{"selections": [], "message": ' + b"9" * 5000 + b"}",
    "depth 100": _deep(100),
    "depth 100,000": _deep(100_000),
    "NUL": b'{"selections": [], "message": "a\\u0000b"}',
    "half a surrogate": b'{"selections": [], "message": "\\ud800"}',
    "no UTF-8": b'{"selections": [], "message": "\xff"}',
    "a raw control character": b'{"selections": [], "message": "a\x00b"}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
async def test_a_body_that_is_no_strict_json_is_refused_at_once(shared: Instance, body: bytes) -> None:
    stored = await shared.get("/configurations")
    begun = time.monotonic()
    response = await shared.raw("/configurations", body)
    assert time.monotonic() - begun < 10
    assert response.status_code == 422
    assert problem_of(response)["code"] == "request.malformed"
    assert await shared.get("/configurations") == stored


WRONG: dict[str, Any] = {
    "an unknown field": {"selections": [], "status": "active"},
    "who did it": {"selections": [], "created_by": "somebody"},
    "a role": {"selections": [], "role": "admin"},
    "an unknown field inside": {"selections": [{"stage_id": "load", "module_id": "load-text", "queue": "ocr"}]},
    "a text for a list": {"selections": CANARY},
    "a number for a text": {"selections": [{"stage_id": 1, "module_id": "load-text"}]},
    "an unknown terminal action": {"fallback_policies": [{"stage_id": "load", "then": CANARY}]},
    "a list": [1, 2, 3],
    "a text": CANARY,
    "a draft by number": {"selections": [], "draft": 1},
    "20,000 selections": {"selections": [{"stage_id": CANARY, "module_id": "b"}, *[{"stage_id": "a"}] * 19_999]},
    "an endless message": {"selections": [], "message": CANARY * 1000},
    "settings of 200 kB": {
        "selections": [{"stage_id": "load", "module_id": "load-text", "settings": {"text": CANARY * 12_000}}]
    },
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG.keys())
async def test_a_body_that_does_not_fit_is_refused_without_repeating_it(shared: Instance, body: Any) -> None:
    begun = time.monotonic()
    response = await shared.raw("/configurations", json.dumps(body).encode())
    assert time.monotonic() - begun < 10  # ten times what is promised
    assert response.status_code == 422
    problem = problem_of(response)
    assert problem["errors"]
    assert CANARY not in response.text


async def test_of_very_many_unknown_fields_the_first_are_listed_and_the_others_counted(shared: Instance) -> None:
    begun = time.monotonic()
    response = await shared.raw("/configurations", json.dumps({f"x{n}": 0 for n in range(50_000)}).encode())
    assert time.monotonic() - begun < 10  # ten times what is promised
    problem = problem_of(response)
    assert len(problem["errors"]) + problem["more"] == 50_000


@pytest.mark.parametrize("value", [False, True, "300", 0, -1, 1e9, [], {}])
async def test_a_wait_that_is_no_number_of_seconds_is_refused(shared: Instance, value: Any) -> None:
    response = await shared.request("POST", "/configurations/v1/activate", json={"max_wait_s": value}, expect=422)
    assert problem_of(response)["errors"][0]["pointer"] == "/max_wait_s"


async def test_unknown_and_repeated_parameters_are_refused_with_the_one_that_was_meant(shared: Instance) -> None:
    problem = problem_of(await shared.request("GET", "/runs?stauts=failed", expect=422))
    assert problem["errors"][0]["hint"] == "Did you mean 'status'?"
    problem_of(await shared.request("GET", "/runs?limit=1&limit=2", expect=422))


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "cursor=%00", "cursor=nonsense!", "cursor=bm9uZQ", "status=nothing"],
)
@pytest.mark.parametrize("path", ["/runs", "/audit"])
async def test_wrong_pages_and_filters_are_refused(shared: Instance, path: str, query: str) -> None:
    if path == "/audit" and query.startswith("status"):
        query = "after=-1"
    response = await shared.request("GET", f"{path}?{query}")
    assert response.status_code in (200, 422), response.text
    if response.status_code == 200:
        assert query == "cursor=bm9uZQ"
        return
    problem_of(response)


@pytest.mark.parametrize(
    "path",
    [
        "/configurations/v0",
        "/configurations/v99999999999999999999",
        "/configurations/%00",
        "/configurations/%F0%9F%92%A9",
        "/configurations/..%2f..%2fetc%2fpasswd",
        "/configurations/" + "a" * 3000,
        "/runs/nobody",
        "/runs/' OR 1=1 --",
        "/documents/%ff",
        "/activations/act_x",
        "/modules/%E2%80%AE",
        "/stages/x",
        "/tokens/tok_x",
        "//problems/nothing.there",
        "//nothing",
    ],
)
async def test_ids_that_are_none_are_not_found(shared: Instance, path: str) -> None:
    response = await shared.request("GET", path)
    assert response.status_code == 404, response.text
    assert problem_of(response)["code"] == "request.not_found"


async def test_a_wrong_method_names_those_that_exist(shared: Instance) -> None:
    response = await shared.request("DELETE", "/configurations", expect=405)
    assert problem_of(response)["code"] == "request.method_not_allowed"
    assert response.headers["allow"]


async def test_a_body_of_another_media_type_is_refused(shared: Instance) -> None:
    response = await shared.request(
        "POST", "/configurations", content=b"selections: []", headers={"Content-Type": "application/yaml"}, expect=415
    )
    assert problem_of(response)["code"] == "request.unsupported_media_type"
    untyped = await shared.request("POST", "/configurations", content=b"{}", headers={"Content-Type": ""})
    assert untyped.status_code == 415


async def test_a_json_body_over_a_mebibyte_is_refused_before_it_is_parsed(shared: Instance) -> None:
    response = await shared.raw("/configurations", b"[" * (1024 * 1024 + 1))
    assert response.status_code == 413
    assert problem_of(response)["code"] == "request.too_large"

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield b" " * 65536

    chunked = await shared.request(
        "POST", "/configurations", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert chunked.status_code == 413


async def test_nobody_makes_the_server_read_a_body_before_saying_who_they_are(shared: Instance) -> None:
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(16):
            read += 1
            yield b" " * 65536

    response = await shared.request("POST", "/configurations", content=body(), role=None, expect=401)
    problem_of(response)


# --- uploads ---


async def test_an_empty_document_is_refused(instance: Instance) -> None:
    response = await instance.request("POST", "/documents", files={"file": ("a.txt", b"", "text/plain")}, expect=422)
    problem_of(response)
    raw = await instance.request("POST", "/documents", content=b"", headers={"Content-Type": "application/pdf"})
    assert raw.status_code == 422
    assert (await instance.get("/documents"))["items"] == []


async def test_an_upload_over_the_limit_is_refused_by_its_declaration_and_while_it_comes(instance: Instance) -> None:
    limit = instance.application.settings.max_upload_bytes
    declared = await instance.request(
        "POST",
        "/documents",
        content=b"x",
        headers={"Content-Length": str(10 * 1024**3), "Content-Type": "application/pdf"},
        expect=413,
    )
    assert problem_of(declared)["code"] == "request.too_large"

    async def endless() -> AsyncIterator[bytes]:
        chunk = b"x" * (4 * 1024 * 1024)
        for _ in range(limit // len(chunk) + 100):
            yield chunk

    response = await instance.request(
        "POST", "/documents", content=endless(), headers={"Content-Type": "application/pdf"}, expect=413
    )
    problem_of(response)
    assert (await instance.get("/documents"))["items"] == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\x00b.pdf", "\u202egnp.exe", "x" * 1000 + ".pdf", "CON", " "])
async def test_a_hostile_name_is_shown_safely_and_is_never_a_path(shared: Instance, name: str) -> None:
    response = await shared.request(
        "POST", "/documents", params={"name": name[:255]}, content=b"text", headers={"Content-Type": "text/plain"}
    )
    if "\x00" in name:
        problem_of(response)
        assert response.status_code == 422
        return
    shown = response.json()["document"]["name"]
    assert shown.isprintable()
    assert "/" not in shown
    assert "\u202e" not in shown
    document = response.json()["document"]["id"]
    file = await shared.request("GET", f"/documents/{document}/file", expect=200)
    assert file.content == b"text"
    assert file.headers["content-disposition"].startswith("attachment")
    assert file.headers["content-type"] == "application/octet-stream"


async def test_what_a_form_says_beside_its_file_is_refused(shared: Instance) -> None:
    files = {"file": ("a.txt", b"beside", "text/plain")}
    problem = problem_of(await shared.request("POST", "/documents", files=files, data={"again": "true"}, expect=422))
    assert "?again=true" in problem["detail"]
    assert (await shared.request("POST", "/documents", files=files)).status_code == 202


@pytest.mark.parametrize("encoding", ["gzip", "br", "gzip, identity"])
async def test_a_compressed_document_is_refused(shared: Instance, encoding: str) -> None:
    headers = {"Content-Encoding": encoding}
    problem = problem_of(await shared.request("POST", "/documents", content=b"x", headers=headers, expect=415))
    assert problem["code"] == "request.unsupported_media_type"


async def test_an_id_that_is_none_is_never_repeated(shared: Instance) -> None:
    secret = "swg_canary7731"
    for method, path in (("GET", "/tokens/"), ("PATCH", "/tokens/"), ("DELETE", "/tokens/"), ("GET", "/modules/")):
        body: dict[str, Any] = {"json": {"role": "viewer"}} if method == "PATCH" else {}
        answer = await shared.request(method, path + secret, headers={"If-Match": '"1"'}, expect=404, **body)
        assert secret not in answer.text


async def test_the_cursor_of_one_list_is_none_of_another(shared: Instance) -> None:
    for text in (b"cursor one", b"cursor two"):
        await shared.send(text)
    cursor = (await shared.get("/runs?limit=1"))["next_cursor"]
    assert (await shared.get(f"/runs?limit=1&cursor={cursor}"))["items"]
    for path in ("/documents", "/configurations", "/modules", "/audit"):
        problem = problem_of(await shared.request("GET", f"{path}?cursor={cursor}", expect=422))
        assert problem["errors"][0]["pointer"] == "query:cursor"


async def test_a_form_without_a_file_is_refused(shared: Instance) -> None:
    problem_of(await shared.request("POST", "/documents", files={"other": ("a", b"x", "text/plain")}, expect=422))
    broken = await shared.request(
        "POST", "/documents", content=b"nonsense", headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert broken.status_code == 422
    assert "form cannot be read" in problem_of(broken)["detail"]
    two = [("file", ("a.txt", b"1", "text/plain")), ("file", ("b.txt", b"2", "text/plain"))]
    both = await shared.request("POST", "/documents", files=two, expect=422)
    assert "one file in the field `file`" in problem_of(both)["detail"]
    plain = await shared.request("POST", "/documents", data={"a": "b"}, expect=415)
    problem_of(plain)


async def test_sending_the_same_bytes_again_names_the_known_document(instance: Instance) -> None:
    first = await instance.send(b"the same", "one.txt")
    again = await instance.send(b"the same", "two.txt", expect=200)
    assert again["duplicate_of"] == first["document"]["id"]
    assert again["run"]["id"] == first["run"]["id"]
    files = {"file": ("one.txt", b"the same", "text/plain")}
    anew = await instance.request("POST", "/documents?again=true", files=files, expect=202)
    assert anew.json()["run"]["id"] != first["run"]["id"]


async def test_an_upload_with_a_key_is_answered_once_although_forms_differ(shared: Instance) -> None:
    headers = {"Idempotency-Key": "upload-1"}
    first = await shared.send(b"once", headers=headers)
    again = await shared.send(b"once", headers=headers)
    assert again == first
    files = {"file": ("a.txt", b"something else", "text/plain")}
    other = await shared.request("POST", "/documents", files=files, headers=headers, expect=422)
    assert problem_of(other)["code"] == "request.idempotency_mismatch"


@pytest.mark.parametrize("key", ["", "x" * 201])
async def test_a_key_that_is_none_is_refused(shared: Instance, key: str) -> None:
    headers = {"Idempotency-Key": key}
    problem_of(await shared.request("POST", "/configurations/validate", json={}, headers=headers, expect=422))


async def test_a_refused_request_does_not_use_up_its_key(shared: Instance) -> None:
    headers = {"Idempotency-Key": "try-again"}
    await shared.request("POST", "/configurations", json={"selections": []}, headers=headers, expect=422)
    body = {"base": "active", "selections": [{"stage_id": "upper", "module_id": "upper-inline"}]}
    await shared.request("POST", "/configurations", json=body, headers=headers, expect=201)


# --- every answer ---


async def test_every_answer_has_a_request_id_and_a_sane_one_is_kept(shared: Instance) -> None:
    given = await shared.request("GET", "/me", headers={"X-Request-ID": "abc-123"}, expect=200)
    assert given.headers["x-request-id"] == "abc-123"
    for bad in ("a b", "x" * 65, "<script>"):
        made = await shared.request("GET", "/me", headers={"X-Request-ID": bad}, expect=200)
        assert made.headers["x-request-id"] != bad
    missing = await shared.request("GET", "//nothing", headers={"X-Request-ID": "abc-124"}, expect=404)
    assert problem_of(missing)["request_id"] == "abc-124"


async def test_an_unexpected_error_is_a_problem_without_a_trace(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError(f"SELECT {CANARY} FROM /srv/secret")

    monkeypatch.setattr(instance.application.runs, "list", broken)
    response = await instance.request("GET", "/runs", expect=500)
    assert problem_of(response)["code"] == "system.error"
    assert CANARY not in response.text
    assert "/srv" not in response.text


async def test_an_unreachable_database_is_503_with_retry_after(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    from switchgear.domain.errors import DatabaseUnreachable

    async def gone(*_arguments: Any, **_named: Any) -> None:
        raise DatabaseUnreachable("The database did not answer in time; nothing was changed.")

    monkeypatch.setattr(instance.application.runs, "list", gone)
    response: httpx2.Response = await instance.request("GET", "/runs", expect=503)
    assert problem_of(response)["code"] == "system.database_unreachable"
    assert 1 <= int(response.headers["retry-after"]) <= 5


async def test_while_the_database_is_away_the_process_lives_and_is_not_ready(instance: Instance) -> None:
    from switchgear.domain.errors import DatabaseUnreachable

    instance.application.trouble = DatabaseUnreachable("The database does not answer.")
    try:
        assert (await instance.request("GET", "//livez", role=None)).text == "ok"
        await instance.request("GET", "//readyz", role=None, expect=503)
        problem_of(await instance.request("GET", "/status", expect=503))
    finally:
        instance.application.trouble = None

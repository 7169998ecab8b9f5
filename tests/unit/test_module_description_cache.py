"""Several processes keep what they learnt about modules in one file, and none undoes what another has learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factories.registries import SECOND, Clock
from switchgear.core.module_registry import description_cache
from switchgear.core.module_registry.description_cache import DescriptionCache
from switchgear.core.module_registry.discovery import MODULES, Offer, signature_of

HUNG: dict[str, Any] = {"failure": {"error": "timeout", "message": "the import took more than 20 s", "missing": None}}
DIED: dict[str, Any] = {"failure": {"error": "crash", "message": "the import ended with exit:3", "missing": None}}
RAISED: dict[str, Any] = {"failure": {"error": "ValueError", "message": "no", "missing": None}}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    code = tmp_path / "code.py"
    code.write_text("")
    return code


def offer_of(name: str) -> Offer:
    return Offer(name, "code:Module", "plug", "1.0", is_editable=False)


def described(code: Path) -> dict[str, Any]:
    return {"description": {"watched": [str(code)]}}


def loaded(folder: Path, clock: Clock) -> DescriptionCache:
    cache = DescriptionCache(folder / "cache", clock)
    cache.load()
    return cache


def put(cache: DescriptionCache, name: str, answer: dict[str, Any], code: Path) -> None:
    cache.put(MODULES, offer_of(name), answer, signature_of([str(code)]))


def test_two_processes_keep_what_each_has_learnt(tmp_path: Path, clock: Clock, code: Path) -> None:
    one, other = loaded(tmp_path, clock), loaded(tmp_path, clock)
    put(one, "a", described(code), code)
    put(other, "b", RAISED, code)
    one.save()
    other.save()

    third = loaded(tmp_path, clock)
    assert third.get(MODULES, offer_of("a")) == described(code)
    assert third.get(MODULES, offer_of("b")) == RAISED
    assert other.get(MODULES, offer_of("a")) == described(code)


@pytest.mark.parametrize("bad", [HUNG, DIED])
def test_what_did_not_answer_here_does_not_replace_what_another_process_learnt_meanwhile(
    tmp_path: Path, clock: Clock, code: Path, bad: dict[str, Any]
) -> None:
    slow, quick = loaded(tmp_path, clock), loaded(tmp_path, clock)
    put(quick, "a", described(code), code)
    quick.save()
    put(slow, "a", bad, code)
    slow.save()

    assert loaded(tmp_path, clock).get(MODULES, offer_of("a")) == described(code)


def test_a_process_whose_packages_changed_since_writes_nothing(
    tmp_path: Path, clock: Clock, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = loaded(tmp_path, clock)
    monkeypatch.setattr(description_cache, "installed_signature", lambda: "upgraded")
    command = loaded(tmp_path, clock)
    put(command, "a", described(code), code)
    command.save()
    put(server, "a", RAISED, code)
    server.save()

    assert loaded(tmp_path, clock).get(MODULES, offer_of("a")) == described(code)


def test_a_hang_is_remembered_for_a_minute_and_longer_each_time_up_to_ten(
    tmp_path: Path, clock: Clock, code: Path
) -> None:
    held_s = []
    for _ in range(6):
        cache = loaded(tmp_path, clock)
        put(cache, "a", HUNG, code)
        cache.save()
        began = clock.now_us
        while loaded(tmp_path, clock).get(MODULES, offer_of("a")) == HUNG:
            clock.now_us += 30 * SECOND
        held_s.append((clock.now_us - began) // SECOND)
    assert held_s == [60, 120, 240, 480, 600, 600]


def test_after_a_good_answer_a_hang_is_remembered_for_a_minute_again(tmp_path: Path, clock: Clock, code: Path) -> None:
    cache = loaded(tmp_path, clock)
    for answer in (HUNG, HUNG, described(code), HUNG):
        put(cache, "a", answer, code)
    clock.now_us += 60 * SECOND
    assert cache.get(MODULES, offer_of("a")) is None


def test_a_hang_is_forgotten_when_its_code_changes_or_the_clock_was_put_back(
    tmp_path: Path, clock: Clock, code: Path
) -> None:
    cache = loaded(tmp_path, clock)
    put(cache, "a", HUNG, code)
    clock.now_us -= 3600 * SECOND
    assert cache.get(MODULES, offer_of("a")) is None
    clock.now_us += 3600 * SECOND
    assert cache.get(MODULES, offer_of("a")) == HUNG
    code.write_text("changed")
    assert cache.get(MODULES, offer_of("a")) is None


def test_a_hang_of_code_that_cannot_be_found_is_not_remembered(tmp_path: Path, clock: Clock) -> None:
    cache = loaded(tmp_path, clock)
    cache.put(MODULES, offer_of("a"), HUNG, ())
    assert cache.get(MODULES, offer_of("a")) is None


def test_a_death_is_not_remembered_and_ends_what_was_known(tmp_path: Path, clock: Clock, code: Path) -> None:
    cache = loaded(tmp_path, clock)
    put(cache, "a", RAISED, code)
    cache.save()
    put(cache, "a", DIED, code)
    cache.save()
    assert loaded(tmp_path, clock).get(MODULES, offer_of("a")) is None


@pytest.mark.parametrize(
    "entry",
    [
        7,
        {},
        {"answer": {}, "watched": []},
        {"answer": 7, "watched": []},
        {"answer": RAISED, "watched": 7},
        {"answer": RAISED, "watched": [[7]]},
        {"answer": {"failure": {}}, "watched": []},
        {"answer": {"description": 7}, "watched": []},
        {"answer": HUNG, "watched": [], "belief_us": "long", "at": 0},
    ],
)
def test_a_damaged_entry_costs_itself_alone(tmp_path: Path, clock: Clock, code: Path, entry: object) -> None:
    one = loaded(tmp_path, clock)
    put(one, "a", described(code), code)
    put(one, "b", RAISED, code)
    one.save()
    file = tmp_path / "cache" / "descriptions.json"
    content = json.loads(file.read_text())
    content["entries"][f"{MODULES} {offer_of('b').key}"] = entry
    file.write_text(json.dumps(content))

    again = loaded(tmp_path, clock)

    assert again.get(MODULES, offer_of("b")) is None
    assert again.get(MODULES, offer_of("a")) == described(code)

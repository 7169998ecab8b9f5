"""A module's own probe says why it cannot work; the answer is limited, shared, kept and forgotten (T010)."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from factories.registries import SECOND, Bench
from switchgear.core.module_registry import lack_of_failure
from switchgear.domain.configuration import sha256_of
from switchgear.domain.errors import Code

pytestmark = pytest.mark.anyio


async def test_a_sentence_of_a_module_ends_with_one_full_stop(bench: Bench, tmp_path: Path) -> None:
    made = await bench.start()
    settings = {"licence": str(tmp_path / "licence")}

    lack = (await made.snapshot([("upper-faulty", settings)])).lack_of("upper-faulty", sha256_of(settings))

    assert lack is not None
    assert lack.message == "Module upper-faulty cannot start: The licence is not there."


@pytest.mark.parametrize(
    ("error", "message", "told"),
    [
        ("ValueError", "probe raised", "ValueError: probe raised."),
        ("ValueError", "No licence.", "ValueError: No licence."),
        ("KeyError", "", "KeyError."),
        ("OSError", "Which disk?", "OSError: Which disk?"),
    ],
)
def test_what_a_module_raised_is_told_as_a_sentence(error: str, message: str, told: str) -> None:
    failure = {"error": error, "message": message, "missing": None}

    assert lack_of_failure("upper", failure, "probe").message == f"Module upper cannot start: {told}"


async def test_a_hanging_probe_is_a_lack_at_its_limit_and_requests_share_it(bench: Bench) -> None:
    made = await bench.start(probe_timeout_s=2)
    settings = {"probe": "hang"}
    began = time.monotonic()
    first, second = await asyncio.gather(
        made.snapshot([("upper-faulty", settings), ("upper-text", {})]), made.snapshot([("upper-faulty", settings)])
    )

    assert time.monotonic() - began < 20
    lack = first.lack_of("upper-faulty", sha256_of(settings))
    assert lack is not None
    assert "did not answer within 2 s" in lack.message
    assert second.lack_of("upper-faulty", sha256_of(settings)) is lack
    assert first.lack_of("upper-text", sha256_of({})) is None
    assert lack == made.current().lack_of("upper-faulty", sha256_of(settings))


async def test_a_probe_says_why_and_its_answer_is_kept_for_ten_seconds(bench: Bench, tmp_path: Path) -> None:
    made = await bench.start()
    settings = {"probe": "unavailable"}
    first = (await made.snapshot([("upper-faulty", settings)])).probes
    again = (await made.snapshot([("upper-faulty", settings)])).probes
    bench.clock.now_us += 11 * SECOND
    later = (await made.snapshot([("upper-faulty", settings)])).probes

    key = ("upper-faulty", sha256_of(settings))
    lack = first[key].lack
    assert lack is not None
    assert lack.fix == "renew-licence tiny"
    assert again[key] is first[key]
    assert later[key] is not first[key]


async def test_settings_that_nobody_asks_for_any_more_are_forgotten(bench: Bench) -> None:
    made = await bench.start()
    settings = {"probe": "unavailable"}
    await made.snapshot([("upper-faulty", settings)])
    digest = sha256_of(settings)
    bench.clock.now_us += 60 * SECOND
    await made.look_again(bench.clock())
    assert made.current().lack_of("upper-faulty", digest) is not None

    bench.clock.now_us += 600 * SECOND
    await made.look_again(bench.clock())
    assert made.current().lack_of("upper-faulty", digest) is None


async def test_a_module_without_a_probe_costs_no_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    made = await bench.start()

    async def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr("switchgear.core.module_registry.probes.ask", forbidden)
    snapshot = await made.snapshot([("upper-text", {}), ("no-such-module", {})])

    unknown = snapshot.lack_of("no-such-module", "")
    assert unknown is not None
    assert unknown.code is Code.SELECTION_UNKNOWN_MODULE

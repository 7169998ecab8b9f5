"""When documents are refused because too many wait, and how soon it is worth to send again. DESIGN 5"""

from __future__ import annotations

import pytest

from switchgear.ingestion.backpressure import Backpressure, TooManyWaiting

pytestmark = pytest.mark.anyio


class Queue:
    def __init__(self, depth: int, oldest_s: float = 0.0) -> None:
        self.depth = depth
        self.oldest_s = oldest_s
        self.asked = 0

    async def queued(self) -> tuple[int, float]:
        self.asked += 1
        return self.depth, self.oldest_s


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_documents_pass_until_as_many_wait_as_may() -> None:
    await Backpressure(Queue(9), 10).check()
    with pytest.raises(TooManyWaiting, match=r"10 documents wait.*at most 10 may\. Nothing was stored") as caught:
        await Backpressure(Queue(10), 10).check()
    assert caught.value.code == "waiting.backpressure"


async def test_without_a_limit_nobody_is_asked() -> None:
    queue = Queue(10**9)
    await Backpressure(queue, 0).check()
    assert queue.asked == 0


async def test_the_queue_is_looked_at_once_a_second_however_many_documents_come() -> None:
    queue, clock = Queue(3), Clock()
    pressure = Backpressure(queue, 10, clock)
    for _ in range(7):
        await pressure.check()
    with pytest.raises(TooManyWaiting):  # what has passed since the last look waits, for all that is known
        await pressure.check()
    assert queue.asked == 1
    clock.now_s = 1.0
    await pressure.check()
    assert queue.asked == 2


@pytest.mark.parametrize(
    ("depth", "oldest_s", "wait_s"),
    [
        (100, 0.0, 1.0),  # everything has just come
        (100, 50.0, 1.0),  # two runs a second: half a second would do
        (199, 100.0, 50.25),
        (100_000, 3600.0, 60.0),  # nobody waits longer than a minute to ask again
    ],
)
async def test_the_wait_follows_from_how_fast_the_queue_goes_on(depth: int, oldest_s: float, wait_s: float) -> None:
    with pytest.raises(TooManyWaiting) as caught:
        await Backpressure(Queue(depth, oldest_s), 100).check()
    assert caught.value.fields["retry_after_s"] == pytest.approx(wait_s, abs=0.01)

"""What is procrastinate's own about its queue backend: its schema, its jobs, its notices. PostgreSQL only."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from factories.runs import LEASE_S, Room, attempt, output
from switchgear.core import job_schema
from switchgear.core.database import Database, Statement
from switchgear.core.migrations import SchemaNewer
from switchgear.domain.run import RunStatus
from switchgear.workers.distributed import ProcrastinateQueue

pytestmark = pytest.mark.anyio

_JOBS = "SELECT queueing_lock, queue_name, status::text FROM procrastinate_jobs ORDER BY id"


@pytest.fixture
def dialect() -> str:
    return "postgresql"


@pytest.fixture
async def room(database_url: str, database: Database) -> Room:
    job_schema.install(database_url)
    return await Room(database).prepare()


@pytest.fixture
def queue(room: Room, database_url: str) -> ProcrastinateQueue:
    return ProcrastinateQueue(room.repository, LEASE_S, url=database_url)


async def jobs(room: Room) -> list[tuple[str, str, str]]:
    return [(str(run), str(name), str(status)) for run, name, status in await room.database.narrow.query(_JOBS)]


# --- jobs ---


async def test_there_is_one_job_exactly_while_a_run_is_queued(room: Room, queue: ProcrastinateQueue) -> None:
    run_id = (await room.submit()).run.id
    assert await jobs(room) == [(run_id, "default", "todo")]
    claim = await queue.claim("wrk_1")
    assert claim is not None
    assert await jobs(room) == []
    await room.repository.hand_back(claim, queue="ocr")
    assert await jobs(room) == [(run_id, "ocr", "todo")]
    await room.repository.cancel(run_id)
    assert await jobs(room) == []


async def test_checkpoints_and_ends_make_no_jobs_and_nothing_of_a_finished_run_is_left(
    room: Room, queue: ProcrastinateQueue
) -> None:
    for number in range(3):
        await room.submit(str(number))
        claim = await queue.claim("wrk_1")
        assert claim is not None
        await room.repository.checkpoint(claim, attempts=[attempt()], outputs=[output()], next_stage_id="extract")
        assert await jobs(room) == []
        await room.repository.end(claim, status=RunStatus.SUCCEEDED)
    for table in ("procrastinate_jobs", "procrastinate_events", "procrastinate_workers"):
        assert await room.database.narrow.query(f"SELECT count(*) FROM {table}") == [(0,)]


async def test_a_process_that_claims_from_the_table_leaves_no_job_behind(room: Room) -> None:
    await room.submit()
    await room.held()
    assert await jobs(room) == []


async def test_a_job_that_nobody_may_claim_now_leaves_no_trace_of_the_looks_at_it(
    room: Room, queue: ProcrastinateQueue
) -> None:
    run_id = (await room.submit()).run.id
    await room.hold()
    for _ in range(5):
        assert await queue.claim("wrk_1") is None
    assert await jobs(room) == [(run_id, "default", "todo")]
    assert await room.database.narrow.query("SELECT count(*) FROM procrastinate_events") == [(1,)]


async def test_a_job_that_may_not_be_claimed_beside_the_end_of_another_run_goes_back_to_its_place(
    room: Room, queue: ProcrastinateQueue
) -> None:
    await room.submit("first")
    claim = await queue.claim("wrk_1")
    assert claim is not None
    held = [(await room.submit(text)).run.id for text in "ab"]
    await room.hold()
    ride = queue.ride("wrk_1")
    claim.ride = lambda: ride

    await room.repository.end(claim, status=RunStatus.SUCCEEDED)

    assert ride is not None
    assert ride.claim is None
    assert await jobs(room) == [(run, "default", "todo") for run in held]
    await room.release_hold()
    claims = [await queue.claim("wrk_1") for _ in held]
    assert [claim.run_id for claim in claims if claim is not None] == held


async def test_a_worker_that_sleeps_in_the_middle_of_a_claim_holds_up_nobody_and_leaves_nothing(
    room: Room, queue: ProcrastinateQueue, database_url: str
) -> None:
    run_id = (await room.submit()).run.id
    address = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(address) as sleeping:
        await sleeping.execute("SELECT * FROM procrastinate_fetch_job_v2(NULL, NULL)")
        claim = await queue.claim("wrk_2")
        await sleeping.rollback()
    assert claim is not None
    assert claim.run_id == run_id
    assert await queue.claim("wrk_2") is None
    assert await jobs(room) == []


async def test_somebody_who_holds_a_queued_run_and_sleeps_holds_up_no_other(
    room: Room, queue: ProcrastinateQueue, database_url: str
) -> None:
    first, second = [(await room.submit(text)).run.id for text in "ab"]
    address = database_url.replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(address) as sleeping:
        await sleeping.execute("SELECT 1 FROM runs WHERE id = %s FOR UPDATE", (first,))
        claim = await queue.claim("wrk_1")
        await sleeping.rollback()
    assert claim is not None
    assert claim.run_id == second
    assert await jobs(room) == [(first, "default", "todo")]


async def test_jobs_that_a_tool_took_or_cancelled_are_made_anew_and_the_old_ones_removed(
    room: Room, queue: ProcrastinateQueue
) -> None:
    runs = [(await room.submit(str(number))).run.id for number in range(3)]
    await room.database.narrow.run(
        Statement("SELECT procrastinate_cancel_job_v1(min(id), FALSE, FALSE) FROM procrastinate_jobs"),
        Statement("SELECT * FROM procrastinate_fetch_job_v2(NULL, NULL)"),
    )
    await queue.tend()
    assert sorted(await jobs(room)) == [(run, "default", "todo") for run in sorted(runs)]


async def test_jobs_of_others_are_left_alone(room: Room, queue: ProcrastinateQueue) -> None:
    await room.database.narrow.run(
        Statement("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('default', 'theirs')")
    )
    assert await queue.claim("wrk_1") is None
    await queue.tend()
    assert await room.database.narrow.query("SELECT task_name, status::text FROM procrastinate_jobs") == [
        ("theirs", "todo")
    ]


# --- notices ---


class Hearing(ProcrastinateQueue):
    """Remembers that it was told."""

    def __init__(self, room: Room, url: str, *queues: str) -> None:
        super().__init__(room.repository, LEASE_S, queues, url=url)
        self.heard = asyncio.Event()

    def notify(self) -> None:
        self.heard.set()
        super().notify()


async def _listening(room: Room, queue: Hearing) -> asyncio.Task[None]:
    """Whoever listens is known by what its connection did last."""
    task = asyncio.create_task(queue.listen())
    async with asyncio.timeout(30):
        while not await room.database.narrow.query(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        ):
            await asyncio.sleep(0.01)
    return task


@pytest.mark.parametrize("queues", [(), ("default",)], ids=["all", "one"])
async def test_a_worker_hears_of_what_another_process_queues(
    room: Room, database_url: str, queues: tuple[str, ...]
) -> None:
    queue = Hearing(room, database_url, *queues)
    listening = await _listening(room, queue)
    await room.submit()
    async with asyncio.timeout(30):
        await queue.heard.wait()
    listening.cancel()


async def test_it_listens_again_when_its_connection_is_cut(room: Room, database_url: str) -> None:
    queue = Hearing(room, database_url)
    listening = await _listening(room, queue)
    await room.database.narrow.query(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE 'LISTEN%'"""
    )
    async with asyncio.timeout(60):
        while not queue.heard.is_set():
            await room.submit("again", again=True)
            await asyncio.sleep(0.05)
    listening.cancel()


# --- schema ---


async def test_what_waits_already_when_the_backend_is_changed_is_sent_by_the_first_sweep(
    database: Database, database_url: str
) -> None:
    room = await Room(database).prepare()
    runs = [(await room.submit(str(number))).run.id for number in range(3)]
    assert job_schema.install(database_url) is None
    queue = ProcrastinateQueue(room.repository, LEASE_S, url=database_url)
    assert await jobs(room) == []
    await queue.tend()
    assert [run for run, _, _ in await jobs(room)] == runs
    claims = [await queue.claim("wrk_1") for _ in runs]
    assert [claim.run_id for claim in claims if claim is not None] == runs


async def test_without_the_backend_no_jobs_are_kept_and_back_again_all_are_sent(
    room: Room, queue: ProcrastinateQueue, database_url: str
) -> None:
    first = (await room.submit("a")).run.id
    assert job_schema.remove(database_url) is True
    assert job_schema.remove(database_url) is False
    second = (await room.submit("b")).run.id
    assert await jobs(room) == []
    assert job_schema.install(database_url) == job_schema.head()
    await queue.tend()
    assert [run for run, _, _ in await jobs(room)] == [first, second]


def test_servers_that_start_together_make_it_once(postgres_url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        before = list(pool.map(job_schema.install, [postgres_url] * 4))
    assert sorted(before, key=str) == sorted([None] + [job_schema.head()] * 3, key=str)


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_no_job_is_found_by_sorting_the_queue_also_where_procrastinate_makes_its_function_anew(
    postgres_url: str,
) -> None:
    job_schema.install(postgres_url)
    _execute(
        postgres_url,
        f"UPDATE job_schema SET version = '{job_schema.head()[:-1]}'",
        "DROP FUNCTION procrastinate_retry_job_v2",
        "ALTER FUNCTION procrastinate_fetch_job_v2 RESET ALL",
    )
    job_schema.install(postgres_url)
    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT proconfig FROM pg_proc WHERE proname = 'procrastinate_fetch_job_v2'")
        assert found.fetchall() == [(["enable_sort=off"],)]


def test_an_older_schema_gets_the_migrations_that_it_lacks(postgres_url: str) -> None:
    job_schema.install(postgres_url)
    older = "03.03.00_01_pre_priority_lock_fetch_job"
    _execute(
        postgres_url,
        f"UPDATE job_schema SET version = '{older}'",
        "DROP FUNCTION procrastinate_retry_job_v2",
        "ALTER TYPE procrastinate_job_event_type RENAME VALUE 'retried' TO 'was_retried'",
    )
    assert job_schema.install(postgres_url) == older
    _execute(postgres_url, "SELECT 'procrastinate_retry_job_v2'::regproc, 'retried'::procrastinate_job_event_type")
    assert job_schema.install(postgres_url) == job_schema.head()


def test_a_newer_schema_is_refused_in_one_sentence_and_left_alone(postgres_url: str) -> None:
    job_schema.install(postgres_url)
    _execute(postgres_url, "UPDATE job_schema SET version = '99.00.00_01_pre_something'")
    with pytest.raises(SchemaNewer, match="newer than the procrastinate that is installed here knows"):
        job_schema.install(postgres_url)


def test_tables_of_procrastinate_that_somebody_else_made_are_not_touched(postgres_url: str) -> None:
    _execute(postgres_url, "CREATE TABLE procrastinate_jobs (id integer)")
    with pytest.raises(job_schema.JobSchemaRefused, match="that Switchgear did not make"):
        job_schema.install(postgres_url)


def test_a_user_who_may_not_make_tables_is_told_who_may_and_uses_what_is_there(postgres_url: str) -> None:
    _execute(
        postgres_url,
        "DROP ROLE IF EXISTS guest",
        "CREATE ROLE guest LOGIN",
        "GRANT SELECT ON alembic_version TO guest",
    )
    try:
        with pytest.raises(job_schema.JobSchemaRefused, match=r"permission denied.*as the owner of the database"):
            job_schema.install(postgres_url.replace("postgres@", "guest@"))
        job_schema.install(postgres_url)
        _execute(postgres_url, "GRANT SELECT ON job_schema TO guest")
        assert job_schema.install(postgres_url.replace("postgres@", "guest@")) == job_schema.head()
    finally:
        _execute(postgres_url, "DROP OWNED BY guest", "DROP ROLE guest")


async def test_a_worker_without_the_schema_says_so_in_one_sentence_and_goes_on_when_it_is_there(
    database: Database, database_url: str
) -> None:
    room = await Room(database).prepare()
    run_id = (await room.submit()).run.id
    queue = ProcrastinateQueue(room.repository, LEASE_S, url=database_url)
    with pytest.raises(job_schema.JobsMissing, match="Run `switchgear migrate`"):
        await queue.claim("wrk_1")
    job_schema.install(database_url)
    await queue.tend()
    claim = await queue.claim("wrk_1")
    assert claim is not None
    assert claim.run_id == run_id

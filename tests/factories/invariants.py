"""What must be true of an instance's database at every committed point, and once all work has ended. RELIABILITY 2."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, text

#: Each finds the rows that break an invariant: at every committed point.
_ALWAYS: Final = {
    "I1: not exactly one configuration is active": """
        SELECT count(*) FROM module_configurations WHERE status = 'active' HAVING count(*) <> 1""",
    "I1: first claims would pin another version than the active one": """
        SELECT a.active_configuration_id FROM admission a
        WHERE a.active_configuration_id <> (SELECT id FROM module_configurations WHERE status = 'active')""",
    "I2: versions have gaps": """
        SELECT count(*), max(version) FROM module_configurations HAVING count(*) <> max(version)""",
    "I3: an active version has errors": """
        SELECT version FROM module_configurations WHERE status = 'active'
        AND REPLACE(CAST(findings AS TEXT), ' ', '') LIKE '%"severity":"error"%'""",
    "I6: more than one activation is pending": """
        SELECT count(*) FROM activations WHERE state IN ('queued', 'warming', 'draining') HAVING count(*) > 1""",
    "I5: something holds first claims, but no activation drains": """
        SELECT held_by FROM admission WHERE held_by IS NOT NULL
        AND held_by NOT IN (SELECT id FROM activations WHERE state = 'draining')""",
    "I7: an attempt has another version than its run": """
        SELECT a.run_id, a.configuration_version, r.configuration_version FROM stage_attempts a
        JOIN runs r ON r.id = a.run_id WHERE a.configuration_id <> r.configuration_id
        OR a.configuration_version <> r.configuration_version""",
    "I12: a document has no run": """
        SELECT id FROM documents WHERE id NOT IN (SELECT document_id FROM runs)""",
    "I14: a stage was recorded as succeeded more than once": """
        SELECT run_id, stage_id, count(*) FROM stage_attempts WHERE outcome = 'succeeded'
        GROUP BY run_id, stage_id HAVING count(*) > 1""",
    "I15: a run that succeeded lacks an output": """
        SELECT r.id, count(o.stage_id) FROM runs r LEFT JOIN stage_outputs o ON o.run_id = r.id
        WHERE r.status = 'succeeded' GROUP BY r.id HAVING count(o.stage_id) <> 5""",
    "a run that succeeded has not exactly one delivery": """
        SELECT r.id, count(d.key) FROM runs r LEFT JOIN deliveries d ON d.run_id = r.id
        WHERE r.status = 'succeeded' GROUP BY r.id HAVING count(d.key) <> 1""",
}

#: Once nothing is under way any more.
_SETTLED: Final = {
    "I13: a run has not ended": """
        SELECT id, status, stage_id, claimed_by, why FROM runs WHERE status IN ('queued', 'running')""",
    "I5: an activation has not ended": """
        SELECT id, state FROM activations WHERE state IN ('queued', 'warming', 'draining')""",
}


def breaches(url: str, *, settled: bool, deliveries: Path | None = None) -> list[str]:
    """Sentences about what is broken; none when all is well.

    Args:
        url: SQLAlchemy's URL of the database.
        settled: Whether all work should have ended.
        deliveries: The folder that the tiny pipeline sends to.
    """
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return [*_broken(connection, settled=settled), *_doubled(connection, deliveries)]
    finally:
        engine.dispose()


def _broken(connection: Connection, *, settled: bool) -> Iterator[str]:
    for sentence, query in (_ALWAYS | (_SETTLED if settled else {})).items():
        rows = connection.execute(text(query)).fetchmany(3)
        if rows:
            yield f"{sentence}: {[tuple(row) for row in rows]}"


def _doubled(connection: Connection, folder: Path | None) -> Iterator[str]:
    """Each run's effect has one key, however often it was tried; what is recorded as delivered was delivered."""
    if folder is None:
        return
    calls = folder / "calls.jsonl"
    keys: defaultdict[str, set[str]] = defaultdict(set)
    for line in calls.read_text().splitlines() if calls.exists() else ():
        call = json.loads(line)
        keys[call["run"]].add(call["key"])
    yield from (f"run {run} was delivered under {len(found)} keys" for run, found in keys.items() if len(found) > 1)
    for key, run in connection.execute(text("SELECT key, run_id FROM deliveries")):
        if not (folder / f"{key}.json").exists():
            yield f"run {run} is recorded as delivered under {key}, but nothing arrived"

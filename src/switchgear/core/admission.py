"""The gate that first claims pass: which version is active, and whether a drain holds them. Source: DESIGN 4, I5, I7.

The row belongs to core; the repository of runs reads it inside its claiming statement. A hold expires by itself, so
that a drain whose process died cannot stop work for longer than it was allowed to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from switchgear.core.database import Statement, Statements

#: Condition of a first claim, for the WHERE of a plain statement with the parameter `:pipeline`.
FIRST_CLAIM_GUARD: Final = (
    "NOT EXISTS (SELECT 1 FROM admission WHERE pipeline = :pipeline AND held_by IS NOT NULL AND held_until > now_us())"
)
#: The version that a first claim pins, as a scalar subquery with the parameter `:pipeline`.
ACTIVE_CONFIGURATION: Final = "(SELECT active_configuration_id FROM admission WHERE pipeline = :pipeline)"


@dataclass(frozen=True, slots=True)
class AdmissionState:
    """The row. `held_until` is microseconds UTC; `generation` grows by one with each switch."""

    active_configuration_id: str | None = None
    generation: int = 0
    held_by: str | None = None
    held_until: int | None = None


async def read(statements: Statements, pipeline: str) -> AdmissionState:
    """Return the row, or an empty one before the first configuration."""
    rows = await statements.query(
        "SELECT active_configuration_id, generation, held_by, held_until FROM admission WHERE pipeline = :pipeline",
        {"pipeline": pipeline},
    )
    return AdmissionState(*rows[0]) if rows else AdmissionState()


async def hold(statements: Statements, pipeline: str, activation_id: str, until_us: int) -> None:
    """Refuse first claims until *until_us* or `release`, whichever comes first."""
    await _write(
        statements,
        "INSERT INTO admission (pipeline, generation, held_by, held_until) VALUES (:pipeline, 0, :held_by, :until) "
        "ON CONFLICT (pipeline) DO UPDATE SET held_by = excluded.held_by, held_until = excluded.held_until",
        {"pipeline": pipeline, "held_by": activation_id, "until": until_us},
    )


async def release(statements: Statements, pipeline: str, activation_id: str) -> None:
    """End the hold of this activation; another one's hold stays."""
    await _write(
        statements,
        "UPDATE admission SET held_by = NULL, held_until = NULL WHERE pipeline = :pipeline AND held_by = :held_by",
        {"pipeline": pipeline, "held_by": activation_id},
    )


async def admit(statements: Statements, pipeline: str, configuration_id: str) -> None:
    """From now on first claims pin this version; every hold ends and the generation grows."""
    await _write(
        statements,
        "INSERT INTO admission (pipeline, active_configuration_id, generation) VALUES (:pipeline, :active, 1) "
        "ON CONFLICT (pipeline) DO UPDATE SET active_configuration_id = excluded.active_configuration_id, "
        "generation = admission.generation + 1, held_by = NULL, held_until = NULL",
        {"pipeline": pipeline, "active": configuration_id},
    )


async def _write(statements: Statements, sql: str, parameters: dict[str, str | int]) -> None:
    await statements.run(Statement(sql, parameters))

"""A token ends after a duration or at a date, and at nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from switchgear.interface.cli.errors import WrongUse
from switchgear.interface.cli.tokens import expiry


def test_a_token_ends_after_a_duration_or_at_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert expiry("90d", now) == now + timedelta(days=90)
    assert expiry("2027-01-31T00:00:00+00:00", now).year == 2027
    with pytest.raises(WrongUse, match="is no time"):
        expiry("soon", now)

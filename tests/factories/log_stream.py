"""A stream that keeps what was logged."""

from __future__ import annotations

import io
import json
from typing import Any


class LogStream(io.StringIO):
    """What was logged."""

    def lines(self) -> list[dict[str, Any]]:
        """Each line as the object that it holds."""
        return [json.loads(line) for line in self.getvalue().splitlines()]

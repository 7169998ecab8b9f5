"""Runs the benchmarks one after the other: python -m benchmarks [--save] [NAME...].

With `--save` the tables are written to benchmarks/results.md and results.json too, drawn as results.svg, and the
capacity in docs/how-to/scale-out.md is calculated from them. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.tables import SAVE_TO

ALL = (
    "start_up",
    "engine_overhead",
    "durable_runs",
    "queue_backends",
    "peers",
    "configuration_endpoints",
    "hot_read",
    "isolation_cost",
    "two_cores",
    "recovery",
    "document_cost",
    "seed_criteria",
)
PAGE = Path(__file__).parent / "results.md"


def main(words: list[str]) -> None:
    """Run what is named, or all."""
    if "--save" in words:
        today = datetime.datetime.now(datetime.UTC).date()
        system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        PAGE.write_text(
            "# Measured figures\n\n"
            f"Written by `python -m benchmarks --save` on {today}, {system}. Ratios compare what was measured side by "
            "side in one run; absolute times are those of that machine.\n\n"
            "![How far each figure is from its bar](results.svg)\n\n"
        )
        PAGE.with_suffix(".json").unlink(missing_ok=True)
        os.environ[SAVE_TO] = str(PAGE)
    for name in [word for word in words if word != "--save"] or ALL:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)
    if "--save" in words:
        for name in ("plot", "capacity"):
            subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)


if __name__ == "__main__":
    main(sys.argv[1:])

"""Runs the benchmarks one after the other: python -m benchmarks [NAME...]."""

from __future__ import annotations

import subprocess
import sys

ALL = ("start_up", "engine_overhead", "configuration_endpoints", "seed_criteria")

if __name__ == "__main__":
    for name in sys.argv[1:] or ALL:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False)

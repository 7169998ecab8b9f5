"""Draws how far each figure is from its bar: results.json -> results.svg.

Usage: python -m benchmarks.plot
`python -m benchmarks --save` calls it at the end, where matplotlib is installed (requirements/bench.txt).
"""

from __future__ import annotations

import json
from pathlib import Path

DATA = Path(__file__).parent / "results.json"
HOLDS, MISSED = "#2b7a4b", "#b3412e"


def main(data: Path = DATA) -> None:
    """Draw the figures that have a bar, the best at the top; right of the line the bar holds."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "switchgear"  # the same figures give the same file
    from matplotlib import pyplot

    tables = json.loads(data.read_text())
    rows = sorted(
        (max(figure["better"], 0.05), f"{figure['name'].strip()} ({figure['bar']})")
        for table in tables
        for figure in table["figures"]
        if figure["better"] is not None
    )
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.24 * len(rows)))
    values = [value for value, _ in rows]
    axes.barh([name for _, name in rows], [value - 1 for value in values], left=1, color=[_colour(v) for v in values])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times better than its bar (left of the line: missed)")
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.01)
    figure.tight_layout()
    figure.savefig(data.with_suffix(".svg"), metadata={"Date": None})


def _colour(value: float) -> str:
    return HOLDS if value >= 1 else MISSED


if __name__ == "__main__":
    main()

"""Latency against rows, both in powers of ten, one line for each search."""

import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Row

SCALED = re.compile(r"uniform codes, 64 bit, (\d+) rows")


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draw the rows of the section `scaling`."""
    lines: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in rows:
        found = SCALED.match(row.work)
        if found:
            for name, figure in {"ours": row.ours, **row.peers}.items():
                lines[name].append((int(found[1]), figure))
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for name, points in lines.items():
        axes.loglog(*zip(*points, strict=True), marker="o", label=name)
    axes.set(xlabel="rows (64 bit)", ylabel="ms a query, k = 100")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.savefig(file, dpi=110)

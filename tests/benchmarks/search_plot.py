"""Latency against rows, both in powers of ten, one line for each search."""

import re
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.benchmarks.report import Row

EXACT = ("ours", "our scan", "faiss flat", "numpy", "usearch exact")
SCALED = re.compile(r"64 bit, (\d+) clustered rows, .*, beside ")


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draw the rows of the section `scaling`."""
    lines: dict[str, dict[int, float]] = defaultdict(dict)
    for row in rows:
        found = SCALED.match(row.work)
        if found:
            for name, figure in {"ours": row.ours, **row.peers}.items():
                lines[name][int(found[1])] = figure
    pyplot: Any = import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(9, 4.5), layout="constrained")
    colours = iter(pyplot.get_cmap("tab20").colors)
    for name, points in lines.items():
        width, style = (2.5 if name.startswith("our") else 1), ("-" if name in EXACT else "--")
        label = name if name in EXACT else f"{name} (approximate)"
        x, y = zip(*points.items(), strict=True)
        axes.loglog(x, y, style, marker="o", label=label, linewidth=width, color=next(colours))
    axes.set(xlabel="rows (64 bit, clusters of 1,000)", ylabel="ms a query, k = 100, one thread")
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(file, dpi=110)

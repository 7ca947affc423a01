"""The gain of targets from label co-occurrence over OrthoHash, and the share of it that comes from their graph."""

from collections.abc import Iterator

import numpy as np

from hashing.bench.comparison import DETAIL_TASK, Comparison
from hashing.evaluation.uncertainty import Difference, Resampling

BASE, SMOOTHED, GRAPH = "OrthoHash", "orthogonal targets", "co-occurrence targets"
"""Fixed orthogonal targets; these with label smoothing; these bent by the graph, with the same smoothing."""


def graph_gain(one: Comparison) -> Iterator[str]:
    """Markdown paragraphs: differences of MAP, paired by query, at each code length; nothing if a method is missing."""
    if not {BASE, SMOOTHED, GRAPH} <= set(one.experiment.methods):
        return
    resampling = Resampling(one.truth.resampled(one.tasks[DETAIL_TASK].queries), np.random.default_rng(0))
    yield f"### {one.experiment.title}, {DETAIL_TASK}: MAP that the graph of labels adds"
    yield (
        f"`{GRAPH}` differ from {BASE} by label smoothing and by the graph; `{SMOOTHED}` have the smoothing alone. The "
        "graph's share is given where the gain is above zero and smoothing takes nothing from it."
    )
    lines = ["| bits | gain over OrthoHash | by smoothing | by the graph | graph's share |", "| --- " * 5 + "|"]
    for length in one.experiment.code_lengths:
        values = {name: one.judgements[name, length, DETAIL_TASK]["MAP"] for name in (BASE, SMOOTHED, GRAPH)}
        gain = resampling.difference(values[GRAPH], values[BASE])
        smoothing = resampling.difference(values[SMOOTHED], values[BASE])
        graph = resampling.difference(values[GRAPH], values[SMOOTHED])
        share = f"{graph.value / gain.value:.0%}" if gain.low > 0 and smoothing.value >= 0 else "-"
        lines.append(f"| {length} | {_cell(gain)} | {_cell(smoothing)} | {_cell(graph)} | {share} |")
    yield "\n".join(lines)


def _cell(one: Difference) -> str:
    return f"{one.value:.3f} ({one.low:.3f} to {one.high:.3f})"

"""docs/results.md, docs/results.csv and plots from comparisons."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hashing.bench.comparison import CHANCE, DETAIL_TASK, Comparison, Row, collapsed, csv_cells, rows, write_csv
from hashing.bench.graph_gain import graph_gain
from hashing.bench.kept_results import SUMMARY, KeptResults
from hashing.evaluation.uncertainty import Difference, Resampling, holm
from hashing.methods.catalogue import (
    LOWER_REFERENCES,
    METHODS,
    MODALITY,
    PROJECTIONS,
    SOURCE,
    SOURCE_SIZE,
    TRAINED,
    UPPER_REFERENCES,
    WITHOUT_CODES,
)

TABLE_METRICS = ("MAP", "MAP@10", "NDCG@100")
ABOUT = Path(__file__).parents[1] / "experiments" / "about.md"
REFERENCES = (CHANCE, SOURCE_SIZE, SOURCE, "LSH", "ITQ")
SUMMARISED = (*REFERENCES, "best trained", "", *UPPER_REFERENCES)
"""Columns of the summary."""


def write(comparisons: list[Comparison], docs: Path) -> None:
    """Write tables and plots of all comparisons into a folder; files of other experiments in it stay."""
    docs.mkdir(parents=True, exist_ok=True)
    kept = KeptResults.read(docs)
    sections, lines, cells = dict(kept.sections), dict(kept.summaries), dict(kept.rows)
    for comparison in comparisons:
        title, results = comparison.experiment.title, list(rows(comparison))
        name = comparison.experiment.name
        plot(results, comparison, docs / f"results-{name}.png")
        plot_curves(comparison, docs / f"curves-{name}.png")
        sections[title], lines[title] = "\n\n".join(section(comparison, results)), summary(comparison, results)
        cells[title] = csv_cells(results)
    write_csv(docs / "results.csv", [row for part in cells.values() for row in part])
    table = "\n".join([*_head([f"MAP, {DETAIL_TASK}", "bits", *SUMMARISED]), *lines.values()])
    parts = [ABOUT.read_text().rstrip(), f"## {SUMMARY}", table, *sections.values()]
    (docs / "results.md").write_text("\n\n".join(parts) + "\n")


def summary(comparison: Comparison, results: list[Row]) -> str:
    """The line of a set: MAP of references and of the trained method that is best on validation images.

    The code length is the longest below 64 bits.
    """
    maps = [row for row in results if (row.relevance, row.metric) == (DETAIL_TASK, "MAP")]
    length = max(row.code_length for row in maps if row.code_length < 64)
    at_length = {row.method: row for row in maps if row.code_length in (0, length)}
    best = comparison.best_trained(length)
    cells = [_cell(at_length[name]) if name in at_length else "" for name in (*REFERENCES, best)]
    cells.append(best)
    cells += [_cell(at_length[name]) if name in at_length else "" for name in UPPER_REFERENCES]
    return f"| {comparison.experiment.title} | {length} | " + " | ".join(cells) + " |"


def section(comparison: Comparison, results: list[Row]) -> Iterator[str]:
    """Markdown paragraphs of one comparison."""
    experiment = comparison.experiment
    parts = ", ".join(f"{len(comparison.truth.part(part)):,} {part}" for part in ("train", "validation", "test"))
    yield f"## {experiment.title}"
    yield (
        f"`python -m hashing compare hashing/experiments/{experiment.name}.toml --data FOLDER`: {parts}; "
        f"seeds {', '.join(map(str, experiment.seeds))}. Columns are code lengths, bits; intervals are 95 %."
    )
    yield f"![MAP by code length](results-{experiment.name}.png)"
    if comparison.curves:
        yield f"![Precision and recall](curves-{experiment.name}.png)"
    for name, task in comparison.tasks.items():
        for metric in TABLE_METRICS:
            if metric == "MAP" or name.startswith(("P-A DB", "P-C")):
                answered = int((~np.isnan(comparison.judgements[CHANCE, 0, name]["MAP"])).sum())
                yield f"### {experiment.title}, {name}: {metric}"
                yield f"{answered:,} of {len(task.queries):,} queries have a relevant image among {len(task.images):,}."
                best = {length: comparison.best_trained(length) for length in experiment.code_lengths}
                yield method_table([row for row in results if row.relevance == name and row.metric == metric], best)
    yield f"### {experiment.title}: ties and denominators ({DETAIL_TASK})"
    yield detail_table(results)
    yield f"### {experiment.title}: code health (test images)"
    yield health_table(results, len(comparison.truth.part("test")))
    yield from differences(comparison)
    yield from graph_gain(comparison)


def method_table(results: list[Row], best: dict[int, str]) -> str:
    """Methods down, code lengths across.

    Parameters
    ----------
    best
        By code length: the method that is printed in bold.
    """
    lengths = sorted({row.code_length for row in results} - {0})
    values = {(row.method, row.code_length): row for row in results}
    lines = _head(["method", *map(str, lengths)])
    for method in (CHANCE, *METHODS):
        flat = values.get((method, 0)) or (values.get((method, lengths[0])) if method == MODALITY else None)
        if flat:
            lines.append(f"| {method} | " + " | ".join([_cell(flat)] * 1 + [""] * (len(lengths) - 1)) + " |")
        elif (method, lengths[0]) in values:
            cells = [values.get((method, length)) for length in lengths]
            shown = [_cell(cell, bold=method == best.get(cell.code_length)) if cell else "" for cell in cells]
            lines.append(f"| {method} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def detail_table(results: list[Row]) -> str:
    """How the order of ties and the denominator change results, at the shortest and the longest code."""
    metrics = (
        "MAP irrelevant first",
        "MAP",
        "MAP relevant first",
        "MAP@10",
        "AP@10-found (legacy)",
        "P@10",
        "MAP macro",
    )
    return _facts([row for row in results if row.relevance == DETAIL_TASK], metrics)


def health_table(results: list[Row], images: int) -> str:
    """How codes use their bits, at the shortest and the longest code; codes that have collapsed are named.

    Parameters
    ----------
    images
        Number of test images, whose codes were counted.
    """
    facts = ("bit imbalance", "bit correlation", "distinct codes", "quantisation gap")
    balls = ("P(radius 2)", "empty radius 2")
    chosen = [row for row in results if row.relevance in ("codes", DETAIL_TASK)]
    bad = [
        f"{row.method} {row.code_length} ({row.value:,.0f})"
        for row in chosen
        if row.metric == "distinct codes" and row.method in (*PROJECTIONS, *TRAINED) and collapsed(row.value, images)
    ]
    note = f"**Collapsed** (distinct codes for {images:,} images): {', '.join(bad)}." if bad else "No codes collapsed."
    return _facts(chosen, (*facts, *balls)) + "\n\n" + note


def differences(comparison: Comparison) -> Iterator[str]:
    """Each trained method beside the one that is best on validation images, paired by query, with Holm's correction."""
    lengths = comparison.experiment.code_lengths
    name = DETAIL_TASK
    resampling = Resampling(comparison.truth.resampled(comparison.tasks[name].queries), np.random.default_rng(0))
    trained = [method for method in comparison.experiment.methods if method in TRAINED]
    if len(trained) < 2:
        return
    yield f"### {comparison.experiment.title}, {name}: MAP behind the trained method that is best on validation images"
    gaps: dict[tuple[str, int], Difference] = {}
    for length in lengths:
        values = {method: comparison.judgements[method, length, name]["MAP"] for method in trained}
        best = comparison.best_trained(length)
        gaps |= {
            (method, length): resampling.difference(values[best], values[method])
            for method in trained
            if method != best
        }
    adjusted = dict(zip(gaps, holm(np.array([gap.p for gap in gaps.values()])), strict=True))
    lines = _head(["method", *map(str, lengths)])
    for method in trained:
        cells = [
            _difference(gaps[method, length], adjusted[method, length]) if (method, length) in gaps else "best"
            for length in lengths
        ]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    yield "\n".join(lines)


def plot(results: list[Row], comparison: Comparison, path: Path) -> None:
    """MAP by code length with intervals, a panel for each protocol and database."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    names = [name for name in comparison.tasks if name.startswith(("P-A DB", "P-C DB"))]
    figure, panels = pyplot.subplots(1, len(names), figsize=(4.2 * len(names), 4.6), sharey=False, squeeze=False)
    colours, shown = mpl.colormaps["tab20"], _shown(comparison)
    for panel, name in zip(panels[0], names, strict=True):
        for number, method in enumerate(shown):
            points = [row for row in results if (row.method, row.relevance, row.metric) == (method, name, "MAP")]
            if points:
                _plot_method(panel, method, points, colours(number % 20), shift=0.35 * (number - len(shown) // 2))
        panel.set(
            title=f"{comparison.experiment.title}, {name}", xlabel="bits", xticks=comparison.experiment.code_lengths
        )
    panels[0][0].set_ylabel("MAP")
    panels[0][-1].legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=90, bbox_inches="tight")
    pyplot.close(figure)


def _shown(comparison: Comparison) -> list[str]:
    """The methods of a comparison in the order of tables: a colour for each of those that are there, not of all."""
    return [method for method in (CHANCE, *METHODS) if method in (CHANCE, *comparison.experiment.methods)]


def _plot_method(panel: Any, method: str, points: list[Row], colour: Any, shift: float) -> None:
    """One method's line of a panel: level where it has no code length, else with intervals; `shift` parts the bars."""
    value = [row.value for row in points]
    if method in (CHANCE, MODALITY, *WITHOUT_CODES):
        panel.axhline(value[0], color=colour, linestyle=":", label=method)
        return
    errors = [[row.value - row.low for row in points], [row.high - row.value for row in points]]
    positions = [row.code_length + shift for row in points]
    style = "--" if method in LOWER_REFERENCES else "-"
    panel.errorbar(positions, value, errors, color=colour, linestyle=style, linewidth=1, marker=".", label=method)


def plot_curves(comparison: Comparison, path: Path) -> None:
    """Precision against recall, a point for each Hamming radius, at the longest code length that has curves."""
    if not comparison.curves:
        return
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    longest = max(length for _, length in comparison.curves)
    figure, panel = pyplot.subplots(figsize=(7, 4.6))
    colours = mpl.colormaps["tab20"]
    for number, method in enumerate(_shown(comparison)):
        if (method, longest) in comparison.curves:
            curve, colour = comparison.curves[method, longest], colours(number % 20)
            style = "--" if method in LOWER_REFERENCES else "-"
            panel.plot(curve["recall"], curve["precision"], style, color=colour, linewidth=1, label=method)
    panel.set(
        title=f"{comparison.experiment.title}, {DETAIL_TASK}, {longest} bits", xlabel="recall", ylabel="precision"
    )
    panel.legend(fontsize=6, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=90, bbox_inches="tight")
    pyplot.close(figure)


def _facts(results: list[Row], metrics: tuple[str, ...]) -> str:
    lengths = sorted({row.code_length for row in results} - {0})
    ends = (lengths[0], lengths[-1])
    values = {(row.method, row.code_length, row.metric): row.value for row in results}
    lines = _head(["method", *(f"{metric}, {ends[0]} / {ends[1]}" for metric in metrics)])
    for method in METHODS:
        if (method, ends[0], metrics[0]) in values and (method, ends[1], metrics[0]) in values:
            cells = [" / ".join(_number(values.get((method, length, metric))) for length in ends) for metric in metrics]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _head(columns: list[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "| " + " | ".join(["---"] * len(columns)) + " |"]


def _cell(row: Row, *, bold: bool = False) -> str:
    value = f"**{row.value:.3f}**" if bold else f"{row.value:.3f}"
    return f"{value} ({row.low:.3f} to {row.high:.3f})"


def _difference(gap: Difference, adjusted: float) -> str:
    sign = "<" if gap.p_is_bound and adjusted < 1 else "="
    return f"{gap.value:.3f} ({gap.low:.3f} to {gap.high:.3f}), p {sign} {adjusted:.3f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 2 else f"{value:.3f}"

"""What every benchmark prints and writes: one row a piece of work, ours beside the peers of the same run."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure.

    Attributes
    ----------
    ratio
        Ours over the first peer where more is better, the first peer over ours where less is.
    reach
        What the ratio is to reach, None where nothing was set.
    """

    work: str
    unit: str
    ours: float
    peers: Mapping[str, float] = field(default_factory=dict)
    limit: float | None = None
    ratio: float | None = None
    reach: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the reach was met; None without one."""
        return None if self.reach is None or self.ratio is None else self.ratio >= self.reach


def interleaved(
    runs: Mapping[str, Callable[[], float]], repeats: int, middle: Callable[[list[float]], float] = median
) -> dict[str, float]:
    """Median, or another `middle`, of each run's figures; runs take turns, so that a noisy moment hits all of them."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            figures[name].append(run())
    return {name: middle(values) for name, values in figures.items()}


def parser(description: str | None) -> argparse.ArgumentParser:
    """`--quick` and `--json FILE`."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--quick", action="store_true", help="the same rows at a smaller size, two minutes at most")
    options.add_argument("--json", type=Path, metavar="FILE", help="write one JSON object a row")
    return options


def arguments(description: str) -> argparse.Namespace:
    """What every benchmark is told."""
    return parser(description).parse_args()


def search_parser(description: str | None, sections: Iterable[str]) -> argparse.ArgumentParser:
    """Options of `parser`, names of sections and `--folder DIR`."""
    options = parser(description)
    choices = [*sections, []]
    options.add_argument("sections", nargs="*", choices=choices, metavar="SECTION", help="all, where none is named")
    options.add_argument("--folder", type=Path, help="keep the databases here for the next run (20 GB)")
    return options


def followed(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, each told as soon as it is there: a full run takes minutes."""
    for row in rows:
        print(f"{row.work}: {row.ours:.3g} {row.unit}", file=sys.stderr, flush=True)
        yield row


def publish(rows: Sequence[Row], file: Path | None) -> None:
    """Print the rows as a table and, if asked, write them as JSON lines."""
    table = Table("work", "unit", "ours", "peers", "ratio")
    for row in rows:
        peers = ", ".join(f"{name} {value:,.3g}" for name, value in row.peers.items())
        table.add_row(row.work, row.unit, f"{row.ours:,.3g}", peers, "" if row.ratio is None else f"{row.ratio:.2f}")
    Console().print(table)
    if file is not None:
        file.write_text("".join(json.dumps(asdict(row) | {"met": row.met}) + "\n" for row in rows))

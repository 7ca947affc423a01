"""What docs/results.md and docs/results.csv hold already: experiments that are not compared again stay in them."""

import csv
import re
from dataclasses import dataclass, field
from pathlib import Path

SUMMARY = "In short"
"""Title of the section that has a line for each experiment."""


@dataclass(frozen=True, slots=True)
class KeptResults:
    """Results by the title of their experiment, in the order of the file.

    Attributes
    ----------
    sections
        Markdown from the heading of an experiment to the next.
    summaries
        Its line in the summary.
    rows
        Its cells in the CSV file.
    """

    sections: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[list[str]]] = field(default_factory=dict)

    @classmethod
    def read(cls, docs: Path) -> "KeptResults":
        """What a folder holds; nothing where there are no results yet."""
        kept = cls()
        if not (docs / "results.md").exists():
            return kept
        parts = re.split(r"^## (.+)\n+", (docs / "results.md").read_text(), flags=re.MULTILINE)
        for title, text in zip(parts[1::2], parts[2::2], strict=True):
            if title == SUMMARY:
                lines = text.strip().splitlines()[2:]
                kept.summaries.update({line.split(" | ")[0].removeprefix("| "): line for line in lines})
            else:
                kept.sections[title] = f"## {title}\n\n{text.rstrip()}"
        with (docs / "results.csv").open(newline="") as file:
            for row in list(csv.reader(file))[1:]:
                kept.rows.setdefault(row[0], []).append(row)
        return kept

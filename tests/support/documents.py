"""Tables of the documentation, read back."""

from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(document: str, *header: str, after: str = "") -> list[list[str]]:
    """Rows of the first table behind a heading that has this header, cell by cell."""
    text = (DOCS / document).read_text().split(after, 1)[-1] if after else (DOCS / document).read_text()
    line = f"| {' | '.join(header)} |"
    assert line in text, f"{document} has no table {header}"
    body = text.split(line, 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in body.strip().split("\n")[1:]]

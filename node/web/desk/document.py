"""Documents for operators: plain HTML that needs no script, and renews itself."""

from collections.abc import Iterator, Sequence
from html import escape

from fastapi.responses import HTMLResponse

REFRESH_S = 10
HEAD = f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="dark">
  <meta name="robots" content="noindex">
  <meta http-equiv="refresh" content="{REFRESH_S}">
  <title>{{title}} - Lookalike</title>
  <link rel="icon" href="web/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="web/style.css">
  <link rel="stylesheet" href="web/histories.css">
</head>
<body>
  <header>
    <a class="brand" href="./" aria-label="Lookalike: all cases">
      <img src="web/icon.svg" alt="" width="36" height="36">
      <span>Lookalike</span>
    </a>
    <nav class="tabs" aria-label="Parts of this page">
      <a href="./">Cases</a>
      <a href="histories">Histories</a>
      <a href="aside">Set aside</a>
      <a href="./#tab=node">Node</a>
    </nav>
  </header>
  <main id="content" class="histories">
    <h1>{{title}}</h1>
"""
FOOT = "  </main>\n</body>\n</html>\n"


def document(title: str, body: str) -> HTMLResponse:
    """A document; its body is HTML."""
    here = HEAD.replace(f">{title}</a>", f' aria-current="page">{title}</a>')
    return HTMLResponse(here.replace("{title}", escape(title)) + body + FOOT)


def table(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of texts; the first of each row is its heading."""
    return "".join(_lines(caption, headings, rows))


def _lines(caption: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"<table><caption>{escape(caption)}</caption>"
    if headings:
        yield "<thead><tr>" + "".join(f'<th scope="col">{escape(text)}</th>' for text in headings) + "</tr></thead>"
    yield "<tbody>"
    for first, *rest in rows:
        cells = "".join(f"<td>{escape(text)}</td>" for text in rest)
        yield f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'
    yield "</tbody></table>"

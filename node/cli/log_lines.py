"""Log lines of the roles, printed above the bars of a terminal instead of through them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Final

from rich.console import Console

CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
ENDING_S: Final = 2.0


@contextmanager
def log_lines_above_bars(console: Console) -> Iterator[int | None]:
    """Give a file descriptor whose lines are printed on the console, above the bars that are shown there.

    None where the console is no terminal: there are no bars then, and processes log to where they log anyway.
    """
    if not console.is_terminal:
        yield None
        return
    reading, writing = os.pipe()
    printing = Thread(target=_print_lines, args=[reading, console], name="log lines", daemon=True)
    printing.start()
    try:
        yield writing
    finally:
        os.close(writing)
        printing.join(ENDING_S)  # until all processes that write there have ended


def _print_lines(reading: int, console: Console) -> None:
    with os.fdopen(reading, errors="replace") as lines:
        for line in lines:
            console.print(CONTROL.sub("?", line.rstrip("\n")), markup=False, highlight=False, soft_wrap=True)

"""Threads that a role cannot do without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def vital_thread(name: str, stop: Event, work: Callable[[], object]) -> Iterator[None]:
    """Run `work` in a thread while the block runs; should it end before `stop` is set, the role ends too.

    A role without one of its threads would look ready and do half of its work.

    Parameters
    ----------
    stop
        Event that ends the block; it is set when `work` ends.

    Raises
    ------
    RuntimeError
        At the end of the block, if `work` ended first; its cause is what `work` raised.
    """

    def run() -> None:
        """Do the work; set `stop` if it ends too early, and store its error."""
        error: Exception | None = None
        try:
            work()
        except Exception as caught:
            error = caught
        if error is not None or not stop.is_set():
            early.append(error)
            stop.set()

    early: list[Exception | None] = []
    Thread(target=run, name=name, daemon=True).start()  # work that cannot be interrupted does not keep the role alive
    yield
    if early:
        raise RuntimeError(f"thread {name!r} of the role ended: the role ends with it") from early[0]

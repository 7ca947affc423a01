"""Threads that a role cannot do without."""

from threading import Event

import pytest

from node.roles.threads import vital_thread

WAIT_S = 20


def test_a_role_whose_thread_raises_ends_with_that_error() -> None:
    def work() -> None:
        raise MemoryError("no room for a segment")

    stop = Event()
    with pytest.raises(RuntimeError, match="'segments' of the role") as caught, vital_thread("segments", stop, work):
        assert stop.wait(WAIT_S)

    assert isinstance(caught.value.__cause__, MemoryError)


def test_a_role_whose_thread_returns_too_early_ends_as_well() -> None:
    stop = Event()
    with pytest.raises(RuntimeError, match="ended"), vital_thread("segments", stop, lambda: None):
        assert stop.wait(WAIT_S)


def test_a_thread_that_ends_because_the_role_does_is_no_fault() -> None:
    stop, begun = Event(), Event()

    def work() -> None:
        begun.set()
        stop.wait(WAIT_S)

    with vital_thread("segments", stop, work):
        assert begun.wait(WAIT_S)
        stop.set()


def test_an_error_of_the_role_itself_is_not_hidden() -> None:
    with pytest.raises(ValueError, match="mine"), vital_thread("segments", Event(), Event().wait):
        raise ValueError("mine")

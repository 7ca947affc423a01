"""A question on its way in: the objects of one association, which end as one question."""

from collections.abc import Callable
from typing import Final

from node.errors import Refusal, Status
from node.query.question import MAX_EXAMPLES
from storage.spool.arrival import Arrival
from storage.spool.questions import OpenQuestion

TOO_MANY: Final = f"a question has at most {MAX_EXAMPLES} objects"


class IncomingQuestion:
    """The `ArrivalSpool` of one association that asks: its objects form one question. One thread uses it.

    Parameters
    ----------
    release
        Gives back what the association holds besides.
    """

    def __init__(self, question: OpenQuestion, release: Callable[[], None]) -> None:
        self._question, self._release = question, release

    def begin(self, sop_instance_uid: str = "") -> Arrival:
        """Let one object arrive.

        Raises
        ------
        Refusal
            A700: there are `MAX_EXAMPLES` already.
        storage.errors.SpoolFull, OSError
            There is no room.
        """
        if self._question.size >= MAX_EXAMPLES:
            raise Refusal(Status.OUT_OF_RESOURCES, TOO_MANY)
        return self._question.begin(sop_instance_uid)

    def close(self) -> None:
        """End the question: it can be answered now."""
        self._question.close()
        self._release()

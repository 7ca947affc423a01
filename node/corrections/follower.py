"""What receivers do with corrections: they order them, and answer once they hold in every answer."""

import logging
import time
from pathlib import Path
from typing import Final

from node.access.callers import has_right_by_title
from node.access.data_key import vault_of
from node.corrections.order_book import Answer, OrderBook, OrderKind
from node.corrections.rejection_note import read_rejection_note
from node.errors import Refusal, Status
from node.options.access import Right
from node.settings import Settings

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.01
"""Interval at which an answer is looked for, seconds."""
NOT_YET: Final = "kept, but not in force yet: retry"


class CorrectionFollower:
    """Has corrections of callers carried out by the role `index`."""

    def __init__(self, settings: Settings, orders: OrderBook) -> None:
        self._settings, self._orders = settings, orders

    def follow_key_objects(self, path: Path, sending_ae_title: str) -> bool:
        """Have a received key object document carried out if it is a rejection note; False if it is none.

        Raises
        ------
        Refusal
            0124: the sender may not correct. A700: it is too large, cannot be stored, or is not in force yet.
            A900, C000: see `read_rejection_note`.
        """
        note = read_rejection_note(path, vault_of(self._settings))
        if note is None:
            return False
        self.check_may_correct(sending_ae_title)
        uid, title, references = note
        answer = self.carry_out(
            OrderKind.REJECT, note=uid, title=title, references=references, received_ns=time.time_ns()
        )
        count = answer.get("instances", 0)
        logger.info("rejection note %s of %s: title %s, %d instances hidden", uid, sending_ae_title, title, count)
        return True

    def check_may_correct(self, calling_ae_title: str) -> None:
        """Raise a refusal (0124) unless the settings let the caller correct."""
        if not has_right_by_title(self._settings, calling_ae_title, Right.ADMIN):
            raise Refusal(Status.NOT_AUTHORIZED, "admin: this caller has not the right to")
        allowed = self._settings.corrections_from
        if allowed and calling_ae_title not in allowed:
            raise Refusal(Status.NOT_AUTHORIZED, "not in corrections_from: no correction is taken")

    def carry_out(self, kind: OrderKind, **fields: object) -> Answer:
        """Have an order carried out, and return what it did.

        Raises
        ------
        Refusal
            A700: it cannot be stored, or is stored and not carried out within `correction_limit_s`; it will be. C1FF:
            it cannot be carried out at all.
        """
        try:
            name = self._orders.put(kind, **fields)
        except OSError as error:
            raise Refusal(Status.OUT_OF_RESOURCES, f"storage failed: {error.strerror}") from error
        deadline_s = time.monotonic() + self._settings.correction_limit_s
        while (answer := self._orders.take_answer(name)) is None:
            if time.monotonic() > deadline_s:
                raise Refusal(Status.OUT_OF_RESOURCES, NOT_YET)
            time.sleep(LOOK_S)
        if "error" in answer:
            raise Refusal(Status.INTERNAL_ERROR, "internal error: see the log of the node")
        return answer

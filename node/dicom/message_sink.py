"""Messages of an association under way: a C-STORE request goes to the receiver, every other to pynetdicom."""

from collections.abc import Callable
from typing import Final, Protocol

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA

from node.dicom.command_set import COMMAND, LAST
from node.errors import Refusal

MOST_IDENTIFIER_BYTES: Final = 1 << 24  # data sets that pynetdicom keeps in memory


class ProtocolError(Exception):
    """The peer sent what PS3.8 does not allow; the association is aborted."""


class Reception(Protocol):
    """An instance that arrives."""

    def write(self, piece: memoryview) -> None:
        """Take some of the data set; the piece is valid during the call only."""

    def finish(self) -> Refusal | None:
        """Return once it is durable, or why it is not kept."""

    def abandon(self) -> None:
        """Forget it: the rest will not come."""


class Stored:
    """A C-STORE request under way: its data set goes to the receiver."""

    def __init__(self, context_id: int, reception: Reception, answer: Callable[[Refusal | None], None]) -> None:
        self.context_id, self._reception, self._answer = context_id, reception, answer
        self.take, self.abandon = reception.write, reception.abandon

    def finish(self) -> None:
        """Answer, once it is durable."""
        self._answer(self._reception.finish())


class Handed:
    """Any other message: it goes to pynetdicom, as its own upper layer would hand it on (DT-2)."""

    def __init__(self, association: Association, context_id: int, command_set: bytes) -> None:
        self.context_id, self._association, self._size = context_id, association, 0
        self._hand_on(COMMAND | LAST, command_set)

    def take(self, piece: memoryview) -> None:
        """Hand a piece of the data set on, as a fragment that is not the last."""
        self._size += len(piece)
        if self._size > MOST_IDENTIFIER_BYTES:
            raise ProtocolError(f"a data set of more than {MOST_IDENTIFIER_BYTES} bytes in a message that stores none")
        self._hand_on(0, bytes(piece))

    def finish(self) -> None:
        """End the data set, and wake the thread that serves the message."""
        if self._association.dimse.message is not None:
            self._hand_on(LAST, b"")
        self._association._reactor_checkpoint.set()

    def abandon(self) -> None:
        """Do nothing: what pynetdicom holds goes with the association."""

    def _hand_on(self, control: int, piece: bytes) -> None:
        fragment = P_DATA()
        fragment.presentation_data_value_list = [[self.context_id, bytes([control]) + piece]]  # type: ignore[list-item]
        try:
            self._association.dimse.receive_primitive(fragment)
        except Exception as error:  # whatever reading a command set of anything raises
            raise ProtocolError("a message that cannot be decoded") from error

"""Sinks of messages: each takes the data set of one DIMSE message, piece by piece as it comes from the network."""

from threading import Event
from typing import Final, NamedTuple, Protocol

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA

from node.dicom.command_set import COMMAND, LAST
from node.errors import Refusal

MAX_IDENTIFIER_BYTES: Final = 1 << 24  # pynetdicom holds the data set of such a message in memory


class ProtocolError(Exception):
    """The peer sent what PS3.8 does not allow; the association is aborted."""


class EncodedPDUs(NamedTuple):
    """Whole PDUs on their way to the thread that sends them.

    Attributes
    ----------
    is_done
        It is set when they were sent, or when they cannot be any more.
    """

    pdus: bytes
    is_done: Event


class DataSink(Protocol):
    """Takes one data set.

    `IncomingInstance` of node/ingest writes it to disk; the sinks below hand it to pynetdicom or drop it.
    """

    def write(self, piece: memoryview) -> None:
        """Take the next piece of the data set; the view is valid during the call only."""

    def finish(self) -> Refusal | None:
        """Take note that the data set is complete; return why the request is refused, None for success."""

    def abandon(self) -> None:
        """Drop what came so far: the association ended within the data set. Never raises."""


class DroppedData:
    """Drops the data set of a request that is refused whatever the data."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def write(self, piece: memoryview) -> None:
        """Drop the piece."""

    def finish(self) -> Refusal:
        """Return the refusal that the sink was made with."""
        return self._refusal

    def abandon(self) -> None:
        """Do nothing."""


class PynetdicomMessage:
    """Hands a message on to pynetdicom, fragment by fragment, as pynetdicom's own upper layer would (action DT-2).

    The response is written by pynetdicom, in the thread of the association.

    Raises
    ------
    ProtocolError
        pynetdicom cannot decode the command set; from `write` also if the data set exceeds `MAX_IDENTIFIER_BYTES`.
    """

    def __init__(self, association: Association, context_id: int, command_set: bytes) -> None:
        self._association, self._context_id, self._size = association, context_id, 0
        self._hand_on(COMMAND | LAST, command_set)

    def write(self, piece: memoryview) -> None:
        """Hand on a fragment of the data set that is not the last."""
        self._size += len(piece)
        if self._size > MAX_IDENTIFIER_BYTES:
            raise ProtocolError(
                f"a data set of more than {MAX_IDENTIFIER_BYTES} bytes in a request that stores nothing"
            )
        self._hand_on(0, bytes(piece))

    def finish(self) -> None:
        """End the data set, and wake the association's thread, which serves the request."""
        if self._association.dimse.message is not None:
            self._hand_on(LAST, b"")
        wake(self._association)

    def abandon(self) -> None:
        """Do nothing: what pynetdicom holds goes with the association."""

    def _hand_on(self, control: int, piece: bytes) -> None:
        fragment = P_DATA()
        fragment.presentation_data_value_list = [[self._context_id, bytes([control]) + piece]]  # type: ignore[list-item]
        try:
            self._association.dimse.receive_primitive(fragment)
        except Exception as error:  # reading arbitrary bytes raises anything
            raise ProtocolError("a message that cannot be decoded") from error


def wake(association: Association) -> None:
    """Wake the thread of an association that a peer requested: it has something to serve, or is to end.

    In an association of ours that thread rests while a request of ours is under way: awake, it would take the response.
    """
    if association.is_acceptor:
        association._reactor_checkpoint.set()

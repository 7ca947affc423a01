"""Finds out whether this process still answers: it asks itself for an association and a C-ECHO, as a peer would."""

import socket
import struct
import time
from typing import Final

from pydicom.uid import UID, ImplicitVRLittleEndian
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification
from pynetdicom.presentation import build_context

from node.dicom.association_request import APPLICATION_CONTEXT, DEFAULT_MAXIMUM_LENGTH
from node.dicom.command_set import P_DATA_TF, command_pdus, echo_request
from node.dicom.listener import Listener
from node.dicom.sop_classes import VERIFICATION

CONTEXT_ID: Final = 1
PDU_HEADER: Final = struct.Struct(">BxI")
ASSOCIATE_AC, RELEASE_RP = 2, 6
RELEASE_RQ: Final = PDU_HEADER.pack(5, 4) + bytes(4)
STATUS_OF_SUCCESS: Final = struct.pack("<HHIH", 0, 0x0900, 2, 0)


def answers(listener: Listener, ae_title: str, timeout_s: float) -> bool:
    """True if the listener grants an association, answers C-ECHO and releases, all within `timeout_s`.

    The way is that of a peer's request, through the accepting thread and the threads of an association, except that
    the connection is a socket pair: other processes may share the port, and quotas may be used up.
    """
    deadline_s = time.monotonic() + timeout_s
    here, there = socket.socketpair()
    with here:
        listener.inject(there)
        try:
            steps = (
                (_associate_request(ae_title), ASSOCIATE_AC, b""),
                (b"".join(command_pdus(CONTEXT_ID, echo_request(), 0)), P_DATA_TF, STATUS_OF_SUCCESS),
                (RELEASE_RQ, RELEASE_RP, b""),
            )
            return all(_answered(here, deadline_s, request, kind, part) for request, kind, part in steps)
        except OSError:  # silent or gone
            return False


def _answered(connection: socket.socket, deadline_s: float, request: bytes, kind: int, part: bytes) -> bool:
    """True if the answer to a PDU is of a type and holds some bytes."""
    connection.settimeout(max(0.001, deadline_s - time.monotonic()))
    connection.sendall(request)
    answered, length = PDU_HEADER.unpack(_exactly(connection, PDU_HEADER.size))
    return answered == kind and part in _exactly(connection, length)


def _exactly(connection: socket.socket, count: int) -> bytes:
    whole = b""
    while len(whole) < count:
        piece = connection.recv(count - len(whole))
        if not piece:
            raise ConnectionResetError("closed before the answer was complete")
        whole += piece
    return whole


def _associate_request(ae_title: str) -> bytes:
    request, maximum_length = A_ASSOCIATE(), MaximumLengthNotification()
    maximum_length.maximum_length_received = DEFAULT_MAXIMUM_LENGTH
    context = build_context(VERIFICATION, ImplicitVRLittleEndian)
    context.context_id = CONTEXT_ID
    request.application_context_name = UID(APPLICATION_CONTEXT)
    request.calling_ae_title = request.called_ae_title = ae_title
    request.presentation_context_definition_list = [context]
    request.user_information = [maximum_length]
    return A_ASSOCIATE_RQ(request).encode()

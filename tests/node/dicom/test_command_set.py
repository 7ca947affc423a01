"""Command sets: ours against pynetdicom's."""

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID, CTImageStorage
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu import P_DATA_TF

from node.dicom.command_set import (
    CommandError,
    Request,
    command_pdus,
    echo_request,
    has_data_set,
    read_command,
    read_request,
    response_to,
    without_status_detail,
)
from node.errors import Refusal, Status

REQUEST = Request(0x0001, 7, CTImageStorage, "2.25.123", has_data_set=True)


def command_set_of_a_store_request() -> bytes:
    primitive = C_STORE()
    primitive.MessageID, primitive.Priority = 7, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = CTImageStorage, UID("2.25.123")
    primitive.DataSet = BytesIO(b"1234")
    message = C_STORE_RQ()
    message.primitive_to_message(primitive)
    return encode(message.command_set, is_implicit_vr=True, is_little_endian=True) or b""


def read_by_pynetdicom(command_set: bytes) -> Dataset:
    return decode(BytesIO(command_set), is_implicit_vr=True, is_little_endian=True)


def test_a_request_that_pynetdicom_wrote_is_read() -> None:
    assert read_request(read_command(command_set_of_a_store_request())) == REQUEST


def test_a_request_of_another_service_is_read_too() -> None:
    elements = read_command(echo_request())

    assert read_request(elements) == Request(0x0030, 1, "1.2.840.10008.1.1", "", has_data_set=False)


def test_pynetdicom_reads_our_c_echo_request() -> None:
    octets = echo_request()

    request = read_by_pynetdicom(octets)

    assert request.CommandGroupLength == len(octets) - 12
    assert (request.CommandField, request.MessageID, request.CommandDataSetType) == (0x30, 1, 257)
    assert request.AffectedSOPClassUID == "1.2.840.10008.1.1"


@pytest.mark.parametrize("command_field", [0x8001, 0x8020, 0x0FFF])
def test_responses_and_cancels_are_no_requests(command_field: int) -> None:
    elements = {0x0100: struct.pack("<H", command_field), 0x0120: b"\1\0", 0x0800: b"\1\1"}

    assert read_request(elements) is None
    assert not has_data_set(elements)


@pytest.mark.parametrize(
    "refusal",
    [
        None,
        Refusal(Status.OUT_OF_RESOURCES, "busy, retry"),
        Refusal(Status.DATA_SET_MISMATCH, "odd", Tag("SOPInstanceUID")),
    ],
)
def test_pynetdicom_reads_our_response(refusal: Refusal | None) -> None:
    octets = response_to(REQUEST, refusal)

    response = read_by_pynetdicom(octets)

    assert response.CommandGroupLength == len(octets) - 12
    assert (response.CommandField, response.MessageIDBeingRespondedTo, response.CommandDataSetType) == (0x8001, 7, 257)
    assert (response.AffectedSOPClassUID, response.AffectedSOPInstanceUID) == (CTImageStorage, "2.25.123")
    assert response.Status == (refusal.status if refusal else 0)
    assert response.get("ErrorComment") == (refusal.comment if refusal else None)
    assert response.get("OffendingElement") == (refusal.offending if refusal else None)
    assert [element.tag for element in response] == sorted(element.tag for element in response)


@settings(deadline=None)
@given(command_set=st.binary(min_size=1, max_size=300), maximum_length=st.sampled_from([0, 7, 12, 100, 16384]))
def test_a_command_set_is_cut_into_pdus_that_the_peer_takes(command_set: bytes, maximum_length: int) -> None:
    pdus = list(command_pdus(3, command_set, maximum_length))

    fragments = []
    for octets in pdus:
        assert maximum_length == 0 or len(octets) - 6 <= maximum_length
        pdu = P_DATA_TF()
        pdu.decode(octets)
        [item] = pdu.presentation_data_value_items
        assert item.presentation_context_id == 3
        fragments.append(item.presentation_data_value or b"")
    assert [value[0] for value in fragments] == [1] * (len(pdus) - 1) + [3]
    assert b"".join(value[1:] for value in fragments) == command_set


@settings(max_examples=300, deadline=None)
@given(octets=st.binary(max_size=60))
def test_garbage_is_no_command_set(octets: bytes) -> None:
    try:
        elements = read_command(octets)
    except CommandError:
        return
    assert sum(8 + len(value) for value in elements.values()) <= len(octets)
    assert b"".join(struct.pack("<HHI", 0, e, len(v)) + v for e, v in elements.items()) in octets or len(elements) > 1


def test_a_request_without_message_id_is_refused() -> None:
    with pytest.raises(CommandError, match="Message ID"):
        read_request({0x0100: b"\x01\x00"})


def test_a_command_set_without_command_field_is_none() -> None:
    with pytest.raises(CommandError, match="Command Field"):
        read_request({0x0110: b"\x01\x00"})


def test_a_data_set_appended_to_a_command_is_no_part_of_it() -> None:
    command_set = response_to(REQUEST, None)
    detail = b"\x08\0\x58\0\x04\0\0\x001.2\0"

    assert without_status_detail(command_set + detail) == without_status_detail(command_set) == command_set

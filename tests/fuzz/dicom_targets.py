"""Parsers of what comes over DICOM: each takes octets, and answers, refuses or sets aside."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from zlib import crc32

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

from hashing.images.pixels import DEFAULT_LIMITS
from node.access.callers import Origin
from node.commitment.request import COMMITMENT_INSTANCE, REQUEST_COMMITMENT, read_request
from node.corrections.availability import read_notification
from node.corrections.rejection_note import read_rejection_note
from node.dicom.association_request import read_association_request
from node.dicom.command_set import C_STORE_RQ, CommandError, Request, read_command, response_to
from node.dicom.command_set import read_request as read_command_request
from node.dicom.message_sink import ProtocolError
from node.errors import Refusal, SettingsError
from node.examples.example_reading import prepare_example
from node.examples.request import ExampleEntry
from node.ingest.identity import IdentityCheck
from node.ingest.outcome import Prepared, Referral, Unusable
from node.ingest.preparation import prepare
from node.pull.search.work_list import take_work_list
from node.query.data_set import read_data_set
from node.query.identifier import read_query
from storage.spool.set_aside import REASON
from tests.fuzz import dicom_seeds as seeds
from tests.fuzz.feeding import Target
from tests.support.dicom.hostile import NAME
from tests.support.dicom.wire import SECONDARY_CAPTURE

SIZE, MAX_FRAMES = 32, 2
MAX_REPORT_BYTES: Final = 1 << 16
SYNTAXES: Final = (
    *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    *(JPEGBaseline8Bit, UID("1.2.3.4")),
)
REFUSALS: Final = (Refusal, CommandError, ProtocolError, SettingsError)
"""Errors that say what is wrong with an input."""


def targets(folder: Path) -> Mapping[str, Target]:
    """Targets by name; their files lie in a folder."""
    files: Mapping[str, tuple[str, Callable[[Path], str], tuple[bytes, ...]]] = {
        "files": ("file.dcm", _file, seeds.files()),
        "reports": ("report.dcm", _file, seeds.reports()),
        "questions": ("question.dcm", _question, seeds.questions()),
        "png pictures": ("picture.png", _question, seeds.pictures("PNG")),
        "jpeg pictures": ("picture.jpg", _question, seeds.pictures("JPEG")),
        "rejection notes": ("note.dcm", _note, seeds.notes()),
        "work lists": ("list.csv", _work_list, seeds.work_lists()),
    }
    return {
        "association requests": Target(refusing(_association), seeds.associations()),
        "command sets": Target(refusing(_command_set), seeds.command_sets()),
        "heads of data sets": Target(refusing(_head), seeds.heads()),
        "identifiers": Target(refusing(_identifier), seeds.identifiers()),
        "notifications": Target(refusing(_notification), seeds.notifications()),
        "commitment requests": Target(refusing(_commitment), seeds.commitments()),
        **{name: Target(refusing(_filed(folder / file, read)), given) for name, (file, read, given) in files.items()},
    }


def refusing(read: Callable[[bytes], str]) -> Callable[[bytes], str]:
    """A reader whose refusals are outcomes."""

    def feed(octets: bytes) -> str:
        try:
            return read(octets)
        except Refusal as refusal:
            return f"refused {refusal.status:04X}"
        except REFUSALS as error:
            return f"refused {type(error).__name__}"

    return feed


def _filed(path: Path, read: Callable[[Path], str]) -> Callable[[bytes], str]:
    def feed(octets: bytes) -> str:
        path.write_bytes(octets)
        return read(path)

    return feed


def _association(octets: bytes) -> str:
    request = read_association_request(octets)
    request.shown_by(Origin("10.0.0.1"))
    answers = len(list(request.identity_responses()))
    request.to_primitive()
    return f"read, {'slips' if request.slips else 'no slip'}, {answers} answers"


def _command_set(octets: bytes) -> str:
    """Read a command set as the upper layer does, and answer it."""
    request = read_command_request(read_command(octets))
    if request is None:
        return "another command"
    read_command(response_to(request, None))
    return "answered"


def _head(octets: bytes) -> str:
    """Find the UIDs at the beginning of a data set as the receiver does; the input decides the transfer syntax."""
    transfer_syntax = SYNTAXES[crc32(octets) % len(SYNTAXES)]
    check = IdentityCheck(Request(C_STORE_RQ, 1, SECONDARY_CAPTURE, "2.25.7.1.1.1", has_data_set=True), transfer_syntax)
    check.take(memoryview(octets))
    check.finish()
    return "identified"


def _identifier(octets: bytes) -> str:
    query = read_query(read_data_set(octets, ExplicitVRLittleEndian))
    return f"{query.level} by {'example' if query.question else 'keys'}"


def _notification(octets: bytes) -> str:
    notification = read_notification(octets, ExplicitVRLittleEndian)
    return "available" if notification.available else "unavailable"


def _commitment(octets: bytes) -> str:
    read_request(COMMITMENT_INSTANCE, REQUEST_COMMITMENT, octets, ExplicitVRLittleEndian)
    return "read"


def _file(path: Path) -> str:
    """Prepare a file as a decode worker does."""
    outcome = prepare(path, 1, SIZE, MAX_FRAMES, max_report_bytes=MAX_REPORT_BYTES)
    return "prepared" if isinstance(outcome, Prepared) else _unusable(outcome)


def _unusable(outcome: Unusable) -> str:
    assert REASON.fullmatch(outcome.reason), outcome
    assert NAME not in outcome.detail, outcome
    return outcome.reason if outcome.report is None else "report"


def _question(path: Path) -> str:
    """Prepare an example as a decode worker does."""
    outcome = prepare_example(ExampleEntry(path, region=None), SIZE, MAX_FRAMES, DEFAULT_LIMITS)
    if isinstance(outcome, Unusable):
        return _unusable(outcome)
    if not isinstance(outcome, Referral):
        return "prepared"
    regions = sum(image.region is not None for image in outcome.images)
    return f"refers to {'regions' if regions else 'images' if outcome.images else 'nothing'}"


def _note(path: Path) -> str:
    return "rejects nothing" if read_rejection_note(path) is None else "rejects"


def _work_list(path: Path) -> str:
    return "one study" if take_work_list(path, path.with_suffix(".taken")) == 1 else "studies"

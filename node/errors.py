"""What the node refuses, the DIMSE status each refusal has, and what a command says of any error.

NodeError
├── SettingsError       the operator must change something
├── InUseError          another process holds a lock (node.locks)
├── PeerError           another application entity could not be reached, or refused a request
└── Refusal             an answer to a request, with status, offending element and comment
"""

import os
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Final

import lmdb
from pydantic import ValidationError
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag

from hashing.model.model_file import ModelError
from storage.errors import StorageError

NO_PIXELS = "no-pixel-data"
"""Reason under which an instance without an image is set aside: it is read, and nothing of it can be indexed."""

COMMENT_LENGTH = 64  # VR LO of Error Comment (0000,0902)


def printable(text: str, most: int = COMMENT_LENGTH) -> str:
    r"""Text that may stand in an Error Comment, a log or a terminal.

    Control characters, backslashes and whatever is not ASCII become question marks; the rest is cut off after `most`
    characters.
    """
    return "".join(c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in text[:most])


class NodeError(Exception):
    """Base of every error of this package."""


class SettingsError(NodeError):
    """A setting cannot be used."""


class PeerError(NodeError):
    """Another application entity could not be reached, or refused."""


class Status(IntEnum):
    """DIMSE statuses we answer with (PS3.7 annex C; PS3.4 B.2.3, C.4.1.1.4; C101 and on: conformance statement)."""

    SUCCESS = 0x0000
    INVALID_ATTRIBUTE_VALUE = 0x0106
    PROCESSING_FAILURE = 0x0110
    NO_SUCH_INSTANCE = 0x0112
    NO_SUCH_EVENT_TYPE = 0x0113
    INVALID_ARGUMENT_VALUE = 0x0115
    INVALID_SOP_INSTANCE = 0x0117
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    NO_SUCH_ACTION = 0x0123
    NOT_AUTHORIZED = 0x0124
    UNRECOGNIZED_OPERATION = 0x0211
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    SUBOPERATIONS_NOT_PERFORMED = 0xA702
    MOVE_DESTINATION_UNKNOWN = 0xA801
    INVALID_RECORD_KEY = 0xA710
    DATA_SET_MISMATCH = 0xA900
    WARNING = 0xB000
    RESPONSE_LIMIT_REACHED = 0xB001
    CANNOT_UNDERSTAND = 0xC000
    EXAMPLE_UNKNOWN = 0xC101
    EXAMPLE_WITHOUT_PIXELS = 0xC102
    EXAMPLE_NOT_HASHABLE = 0xC103
    MODEL_UNKNOWN = 0xC104
    EXAMPLE_NOT_READY = 0xC105
    REGION_OUTSIDE = 0xC106
    SNAPSHOT_GONE = 0xC107
    INTERNAL_ERROR = 0xC1FF
    CANCEL = 0xFE00
    PENDING = 0xFF00
    PENDING_WITH_UNSUPPORTED_KEYS = 0xFF01


HTTP_STATUS: dict[Status, int] = {
    Status.NOT_AUTHORIZED: 403,
    Status.OUT_OF_RESOURCES: 503,
    Status.SUBOPERATIONS_NOT_PERFORMED: 502,
    Status.MOVE_DESTINATION_UNKNOWN: 400,
    Status.INVALID_RECORD_KEY: 400,
    Status.DATA_SET_MISMATCH: 400,
    Status.CANNOT_UNDERSTAND: 400,
    Status.EXAMPLE_UNKNOWN: 404,
    Status.EXAMPLE_WITHOUT_PIXELS: 422,
    Status.EXAMPLE_NOT_HASHABLE: 422,
    Status.MODEL_UNKNOWN: 422,
    Status.EXAMPLE_NOT_READY: 409,
    Status.REGION_OUTSIDE: 422,
    Status.SNAPSHOT_GONE: 410,
    Status.INTERNAL_ERROR: 500,
}
"""HTTP status of each failure."""


class Refusal(NodeError):  # noqa: N818 - an answer, not a failure of ours
    """A request that gets a failure status.

    Attributes
    ----------
    status
        DIMSE status of the response.
    comment
        Error Comment: what is wrong and what to do, at most 64 characters, no patient data.
    offending
        Tag of the element at fault, or None.
    """

    def __init__(self, status: Status, comment: str, offending: BaseTag | None = None) -> None:
        super().__init__(comment)
        self.status, self.comment, self.offending = status, printable(comment), offending


def _system_explanation(error: OSError) -> str:
    paths = [os.fsdecode(path) for path in (error.filename, error.filename2) if isinstance(path, str | bytes)]
    return ": ".join([" to ".join(paths) or "system", error.strerror or str(error) or type(error).__name__])


def _validation_explanation(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)


EXPLANATIONS: Final[dict[type[Exception], Callable[[Any], str]]] = {
    NodeError: str,
    StorageError: str,
    ModelError: str,
    lmdb.Error: lambda error: f"database: {error}; is the disk full, or does the home folder belong to another user?",
    OSError: _system_explanation,
    InvalidDicomError: lambda error: f"no DICOM file: {error}",
    ValidationError: _validation_explanation,
    MemoryError: lambda error: (
        f"memory ran out{f': {error}' if str(error) else ''}; end other programs, or lower limits"
    ),
    ImportError: lambda error: f"{error}: install Lookalike again, with all it needs",
    ValueError: lambda error: str(error) or "a value cannot be used",
}
"""Explanations of the errors that the user of a command can cause; the first class that fits counts."""

REFUSALS: Final = (NodeError, StorageError, ModelError, lmdb.Error, OSError)
"""Errors that name a fault of the settings or of the machine; all others are faults of the program."""


def explanation(error: Exception) -> str | None:
    """Return one line that says what is wrong and what to do, None for an error that only a fault of ours causes."""
    for kind, explain in EXPLANATIONS.items():
        if isinstance(error, kind):
            return " ".join(explain(error).split())
    return None

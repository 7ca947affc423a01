"""Attribute lists of N-CREATE and N-ACTION requests, read element by element."""

import re
from io import BytesIO
from typing import Final

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID

from node.errors import Refusal, Status
from node.query.data_set import check_structure

MAX_BYTES: Final = 8 << 20
MAX_ELEMENTS: Final = 1 << 18
"""Limits of an attribute list: about fifty thousand instances."""
UID_FORM: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1


def read_attribute_list(encoded: bytes, transfer_syntax: UID) -> Dataset:
    """Attribute list as a data set, none of whose values is read yet.

    Raises
    ------
    Refusal
        0110: the bytes are no data set. 0213: there are too many.
    """
    if len(encoded) > MAX_BYTES:
        raise Refusal(Status.RESOURCE_LIMITATION, f"data set of more than {MAX_BYTES >> 20} MiB: split it")
    implicit = transfer_syntax.is_implicit_VR
    try:
        check_structure(encoded, implicit=implicit, max_elements=MAX_ELEMENTS)
        return read_dataset(BytesIO(encoded), implicit, is_little_endian=True, bytelength=len(encoded))
    except Exception as error:  # whatever reading a stream of anything raises
        raise Refusal(Status.PROCESSING_FAILURE, "the attribute list is not a data set, or is cut short") from error


def value_of(dataset: Dataset, keyword: str, *, may_be_empty: bool = False) -> object:
    """Value of an attribute; a refusal (0106, 0120, 0121) if it is missing, empty, or cannot be read."""
    if keyword not in dataset:
        raise Refusal(Status.MISSING_ATTRIBUTE, f"{keyword} is missing")
    try:
        value = dataset[keyword].value
    except Exception as error:  # converting an arbitrary value raises anything
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} cannot be read") from error
    if not value and not may_be_empty:
        raise Refusal(Status.MISSING_ATTRIBUTE_VALUE, f"{keyword} is empty")
    return value


def items_of(dataset: Dataset, keyword: str, *, may_be_empty: bool = False) -> list[Dataset]:
    """Items of a sequence; a refusal as of `value_of`."""
    value = value_of(dataset, keyword, may_be_empty=may_be_empty)
    items = [] if value is None or value == "" else value
    if not isinstance(items, list) and not hasattr(items, "__iter__"):
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} is no sequence")
    found = list(items)
    if not all(isinstance(item, Dataset) for item in found):
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} is no sequence")
    return found


def uid_of(dataset: Dataset, keyword: str) -> str:
    """Value of an attribute that is one UID; a refusal as of `value_of`."""
    value = str(value_of(dataset, keyword)).strip(" \0")
    if not UID_FORM.fullmatch(value):
        raise Refusal(Status.INVALID_ATTRIBUTE_VALUE, f"{keyword} is no UID")
    return value

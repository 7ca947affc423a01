"""Rejection notes: key object documents that reject instances (PS3.3 C.17.6, PS3.16 TID 2010; IHE RAD TF-3 4.66)."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydicom import dcmread
from pydicom.dataset import Dataset

from node.dicom.hierarchy import tag_of
from node.errors import Refusal, Status
from storage.database.rejections import Title
from storage.vault import CLEAR, Vault

MAX_NOTE_BYTES: Final = 8 << 20
"""Largest key object document that is read: about fifty thousand references."""
UID_FORM: Final = re.compile(r"[0-9.]{1,64}")  # PS3.5 section 9.1
TITLES: Final = frozenset(Title) - {Title.UNAVAILABLE}
EVIDENCE: Final = "CurrentRequestedProcedureEvidenceSequence"


def read_rejection_note(path: Path, vault: Vault = CLEAR) -> tuple[str, Title, dict[str, str]] | None:
    """Read a key object document.

    Returns
    -------
    (str, Title, dict) or None
        SOP Instance UID of the note, its title, and the Study Instance UID of each rejected instance by its SOP
        Instance UID; None if the document rejects nothing.

    Raises
    ------
    Refusal
        A700: it is larger than `MAX_NOTE_BYTES`. C000: it cannot be read, or holds what is no UID. A900: it rejects,
        and references nothing.
    """
    if path.stat().st_size > MAX_NOTE_BYTES:
        raise Refusal(Status.OUT_OF_RESOURCES, f"key object document of more than {MAX_NOTE_BYTES >> 20} MiB: split it")
    try:
        with vault.open(path) as file:
            dataset = dcmread(file)
        title = _title(dataset)
        if title is None:
            return None
        references = dict(_references(dataset))
        note_uid = str(dataset.SOPInstanceUID)
    except Exception as error:  # reading arbitrary bytes raises anything
        raise Refusal(Status.CANNOT_UNDERSTAND, "the key object document cannot be read") from error
    if not references:
        raise Refusal(Status.DATA_SET_MISMATCH, "a rejection note without a reference", tag_of(EVIDENCE))
    if not all(UID_FORM.fullmatch(uid) for uid in (*references, *references.values())):
        raise Refusal(Status.CANNOT_UNDERSTAND, "a reference of the rejection note is no UID", tag_of(EVIDENCE))
    return note_uid, title, references


def _title(dataset: Dataset) -> Title | None:
    names = dataset.get("ConceptNameCodeSequence") or [Dataset()]
    value, scheme = (str(names[0].get(keyword, "")).strip() for keyword in ("CodeValue", "CodingSchemeDesignator"))
    return Title(value) if scheme == "DCM" and value in TITLES else None


def _references(dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yield (SOP Instance UID, Study Instance UID) of each reference of the evidence."""
    for study in dataset.get(EVIDENCE) or []:
        for series in study.get("ReferencedSeriesSequence") or []:
            for instance in series.get("ReferencedSOPSequence") or []:
                yield str(instance.ReferencedSOPInstanceUID), str(study.StudyInstanceUID)

"""A DICOM instance: one image of one series of one person."""

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from hashing.phantoms.body.anatomy import Anatomy
from hashing.phantoms.body.person import Person
from hashing.phantoms.dicom_header import header
from hashing.phantoms.resonance import add_resonance
from hashing.phantoms.roentgen import add_roentgen
from hashing.phantoms.schedule import Series
from hashing.phantoms.tomogram import add_tomogram

_SECTIONS = {"CT": add_tomogram, "MR": add_resonance}


def instance(person: Person, series: Series, index: int, anatomy: Anatomy) -> tuple[Dataset, float | None]:
    """Data set number ``index`` (from 0) of a series, and its level: 0 at the head end, None for a projection."""
    dataset = header(person, series, index + 1)
    level = None
    if series.modality in _SECTIONS:
        level = _level(person, series, index)
        _SECTIONS[series.modality](dataset, person, series, anatomy, level)
    else:
        add_roentgen(dataset, person, series, anatomy)
    if series.transfer_syntax.is_encapsulated:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(series.transfer_syntax, generate_instance_uid=False)
    return dataset, level


def _level(person: Person, series: Series, index: int) -> float:
    """Level of a section. A series divides the body evenly, and begins at a level of its own."""
    start = float(person.random(21, series.number).uniform(0.02, 0.07))
    end = 1.10 if series.modality == "CT" else 1.0
    return start + (end - start) * index / (series.images - 1)

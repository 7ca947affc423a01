"""`lookalike model train`: the model that is set, fitted to the previews that the database keeps."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashing.model.model_file import DEFAULT_MODEL, Model
from hashing.model.weights import export, load_network
from hashing.training.fine_tuning import FineTuning, SiteImages, fine_tune, score
from node.errors import SettingsError
from node.home import open_database, require_database
from node.settings import Settings
from storage.database.snapshot import Snapshot
from storage.record import Level, Record

UID_COLUMN, LABEL_COLUMN = "SOPInstanceUID", "labels"
SEPARATOR = "|"


def read_labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Labels by SOP Instance UID, from a CSV file with the columns SOPInstanceUID and labels, these joined by "|".

    Raises
    ------
    SettingsError
        The file lacks a column.
    """
    with path.open(newline="") as table:
        reader = csv.DictReader(table)
        if missing := {UID_COLUMN, LABEL_COLUMN}.difference(reader.fieldnames or ()):
            raise SettingsError(f"{path} has no column {' and '.join(sorted(missing))}")
        return {row[UID_COLUMN]: tuple(filter(None, row[LABEL_COLUMN].split(SEPARATOR))) for row in reader}


def site_images(snapshot: Snapshot, labels: dict[str, tuple[str, ...]] | None, limit: int) -> SiteImages:
    """The first preview of each instance: of those in the table of labels, or of at most `limit`, evenly chosen.

    Raises
    ------
    SettingsError
        None of them has a preview here.
    """
    uids = _evenly([entity.uid for entity in snapshot.entities(Level.IMAGE)], limit) if labels is None else labels
    found = list(_with_preview(snapshot, uids))
    if not found:
        raise SettingsError("no image to learn from: none of them is indexed with a preview")
    records = [record for record, _ in found]
    return SiteImages(
        images=np.stack([preview for _, preview in found]),
        modalities=tuple(record.series.get("Modality", "") for record in records),
        patients=tuple(record.patient_key for record in records),
        labels=tuple((labels or {}).get(record.sop_instance_uid, ()) for record in records),
    )


def train_on_site(
    settings: Settings, labels: Path | None, out: Path, how: FineTuning, limit: int
) -> tuple[Model, SiteImages, float | None, float | None]:
    """Fit the model that is set to a site, and write it; returns it, what it saw, and its MAP before and after.

    The values are of patients that it did not learn from, None where too few of them have labels.
    """
    require_database(settings)
    with open_database(settings) as database, database.snapshot() as snapshot:
        site = site_images(snapshot, None if labels is None else read_labels(labels), limit)
    network, model = load_network(settings.model_path or DEFAULT_MODEL)
    lengths = tuple(map(model.architecture.learned_bits_of, model.architecture.code_lengths))
    tuned = fine_tune(network.eval(), lengths, site, how)
    facts = {"begun_with": model.identifier, "images": str(len(site.images))}
    written = export(tuned, model.architecture, out, out.stem, facts, model.classes)
    return written, site, score(network, site), score(tuned, site)


def _evenly(uids: list[str], limit: int) -> list[str]:
    return [uids[number] for number in np.linspace(0, len(uids) - 1, min(limit, len(uids))).astype(int)]


def _with_preview(snapshot: Snapshot, uids: Iterable[str]) -> Iterator[tuple[Record, NDArray[np.uint8]]]:
    """Records with the preview of their first frame."""
    for uid in uids:
        record = snapshot.record(uid)
        if record is None or not record.frames:
            continue
        preview = snapshot.preview(uid, record.frames[0])
        if preview is not None:
            yield record, preview

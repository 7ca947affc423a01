"""From a file of a question to network inputs, or to what it refers to; runs in decode workers that may be killed."""

from dataclasses import replace

import numpy as np
from pydicom.dataset import FileDataset

from hashing.images.pixels import Limits, PixelError, decode, network_input, network_inputs, preprocess, sampled_frames
from node.examples.crop import region_of_input
from node.examples.frame_picture import rendered_frame
from node.examples.picture_file import FORMATS, prepare_picture
from node.examples.references import referenced_images, refers
from node.examples.request import ExampleEntry, FrameEntry
from node.ingest.outcome import MEMORY_LIMIT, ExampleOutcome, Prepared, Referral, Unusable
from node.ingest.preparation import UID_KEYWORDS, attributes_of, known_uids, prepared, text
from node.ingest.reading import read_received
from storage.record import Level
from storage.vault import CLEAR, Vault


def prepare_example(
    entry: ExampleEntry | FrameEntry, size: int, max_frames: int, limits: Limits, vault: Vault = CLEAR
) -> ExampleOutcome:
    """Read a file of an example, a DICOM object or a picture; it raises nothing but what ends a process.

    Parameters
    ----------
    entry
        Its file is a DICOM object, or by its suffix a PNG or JPEG.
    vault
        Opens the file if it is sealed.

    Returns
    -------
    Prepared
        Of an image.
    Referral
        Of an object that refers to images, or has no picture that could be encoded: its reason says why.
    RenderedFrame
        Of a frame that is to be shown.
    Unusable
        If not even patient and study can be read.
    """
    uids: dict[str, str] = {}
    try:
        if isinstance(entry, FrameEntry):
            return rendered_frame(entry, limits, vault)
        if entry.path.suffix in FORMATS:
            return prepare_picture(entry.path, entry.region, size, limits, vault)
        received = read_received(entry.path, limits.inflated_bytes, vault)
        uids = known_uids(received.dataset)
        if len(uids) < len(UID_KEYWORDS):
            return Unusable("uid-missing", "an object of a question names its study, series and instance", uids)
        return _read(entry, received.dataset, uids, size, max_frames, limits)
    except PixelError as error:
        return Unusable(error.reason.replace(" ", "-"), str(error), uids)
    except MemoryError:
        return Unusable(MEMORY_LIMIT, "decoding takes more memory than decode_memory_bytes", uids)
    except Exception as error:
        return Unusable("not-readable", f"{type(error).__name__} while reading the object", uids)


def _read(
    entry: ExampleEntry, dataset: FileDataset, uids: dict[str, str], size: int, max_frames: int, limits: Limits
) -> Prepared | Referral:
    attributes = attributes_of(dataset)
    known = attributes[Level.PATIENT] | attributes[Level.STUDY]
    if entry.is_header_only:
        return Referral(uids, known, reason="The example could not be read.")
    if refers(text(dataset, "SOPClassUID")):
        images = referenced_images(dataset)
        return Referral(uids, known, images, "" if images else "The object names no image and outlines no region.")
    try:
        return _pictures(entry, dataset, size, max_frames, limits)
    except PixelError as error:
        sentence, cause = f"The example cannot be searched for: {error.reason}.", error.reason.replace(" ", "-")
        return Referral(uids, known, reason=sentence, cause=cause)


def _pictures(entry: ExampleEntry, dataset: FileDataset, size: int, max_frames: int, limits: Limits) -> Prepared:
    if entry.region is None and not entry.frames:
        frames, images = network_inputs(dataset, max_frames, size, limits)
        return prepared(dataset, frames, images, entry.received_ns)
    chosen = tuple(frame - 1 for frame in sorted(entry.frames)) or tuple(sampled_frames(dataset, max_frames, limits))
    if entry.region is not None:  # of one frame
        picture = decode(dataset, chosen[0], limits)
        region = region_of_input(picture, entry.region, size)
        whole = prepared(dataset, chosen[:1], preprocess(picture, size)[None], entry.received_ns)
        return replace(whole, region=region)
    inputs = [network_input(dataset, frame, size, limits) for frame in chosen[:max_frames]]
    return prepared(dataset, chosen[:max_frames], np.stack(inputs), entry.received_ns)

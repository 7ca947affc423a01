"""What key objects, presentation states and reports refer to."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.cli.send import files
from node.examples.references import referenced_images, refers
from tests.support.peers.asking import key_object_file, presentation_state_file, report_file

BOX = [10, 20, 30, 20, 30, 40, 10, 40, 10, 20]


def test_a_key_object_selection_refers_to_its_images(phantoms: Path, tmp_path: Path) -> None:
    images = sorted(files(phantoms))[:2]

    found = referenced_images(dcmread(key_object_file(tmp_path / "ko.dcm", images)))

    expected = [dcmread(path) for path in images]
    assert [(one.sop_instance_uid, one.series_instance_uid, one.region) for one in found] == [
        (image.SOPInstanceUID, image.SeriesInstanceUID, None) for image in expected
    ]


@pytest.mark.parametrize("write", [presentation_state_file, report_file])
def test_an_outline_is_a_region_of_its_image(phantoms: Path, tmp_path: Path, write: type) -> None:
    image = sorted(files(phantoms))[0]

    (found,) = referenced_images(dcmread(write(tmp_path / "outline.dcm", image, "POLYLINE", BOX)))

    assert (found.sop_instance_uid, found.region) == (dcmread(image).SOPInstanceUID, (11, 21, 30, 40))


@pytest.mark.parametrize("write", [presentation_state_file, report_file])
def test_a_line_or_a_point_is_no_region(phantoms: Path, tmp_path: Path, write: type) -> None:
    image = sorted(files(phantoms))[0]

    assert referenced_images(dcmread(write(tmp_path / "line.dcm", image, "POLYLINE", BOX[:6]))) == ()
    assert referenced_images(dcmread(write(tmp_path / "point.dcm", image, "POINT", BOX[:2]))) == ()


def test_a_tree_as_deep_as_its_bytes_allow_is_read_without_recursion() -> None:
    document = item = Dataset()
    document.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"
    for _ in range(20_000):
        inner = Dataset()
        item.ContentSequence = [inner]
        item = inner

    assert referenced_images(document) == ()


def test_images_are_not_read_for_references() -> None:
    assert not refers("1.2.840.10008.5.1.4.1.1.2")
    assert refers("1.2.840.10008.5.1.4.1.1.11.1")

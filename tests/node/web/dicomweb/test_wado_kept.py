"""WADO-RS of kept objects: no PACS is asked."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless

from tests.node.web.dicomweb.test_wado import BELOW, files
from tests.support.dicom.kept import KEEPING, images, items, keep
from tests.support.peers.pacs import SERIES, STUDY, numbered
from tests.support.web.web_archive import WebArchive, web_archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("web") / "home", items(images(4)), **KEEPING) as archive:
        keep(archive.resources.settings, images(2))
        keep(archive.resources.settings, images(3)[2:], JPEG2000Lossless)
        yield archive


def instance(number: int) -> str:
    return f"/studies/{STUDY}/series/{SERIES}/instances/2.25.9.1.{number}"


def test_an_instance_comes_as_it_was_kept(archive: WebArchive) -> None:
    [whole] = files(archive.get(BELOW))
    bare = archive.get(BELOW, headers={"Accept": "application/dicom"})

    assert whole == numbered(1)
    path = archive.resources.settings.objects_path.glob(f"*/{whole.SOPInstanceUID}.dcm")
    assert bare.content == next(path).read_bytes()


def test_frames_are_those_of_the_kept_object(archive: WebArchive) -> None:
    native, compressed = (archive.get(f"{instance(number)}/frames/1", headers=ANY) for number in (1, 2))

    assert numbered(1).PixelData in native.content
    assert "image/jp2" in compressed.headers["content-type"]


ANY = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*, image/jp2'}


def test_a_client_gets_the_transfer_syntax_that_it_takes_or_is_told(archive: WebArchive) -> None:
    wanted = {"Accept": f"application/dicom; transfer-syntax={ImplicitVRLittleEndian}"}

    converted, refused = (archive.get(instance(number), headers=wanted) for number in (1, 2))

    found = dcmread(io.BytesIO(converted.content))
    assert (found.file_meta.TransferSyntaxUID, found.PixelData) == (ImplicitVRLittleEndian, numbered(1).PixelData)
    octets = {"Accept": 'multipart/related; type="application/octet-stream"'}
    assert (refused.status_code, archive.get(f"{instance(2)}/frames/1", headers=octets).status_code) == (406, 406)


def test_what_is_not_kept_is_not_found(archive: WebArchive) -> None:
    assert archive.get(instance(3)).status_code == 404
    assert archive.get(instance(9)).status_code == 404


def test_a_study_of_which_all_is_kept_comes_whole(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", items(images(3)), **KEEPING) as archive:
        keep(archive.resources.settings, images(3))

        assert files(archive.get(f"/studies/{STUDY}")) == images(3)
        assert archive.get("/studies?InstanceAvailability=").json()[0]["00080056"]["Value"] == ["ONLINE"]

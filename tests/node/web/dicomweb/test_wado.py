"""WADO-RS: instances and frames come whole from the source PACS, metadata and pictures from the index."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from hashing.codes import pack
from storage.corrections.rejecting import RejectionNote, reject
from storage.database.database import Item
from storage.database.rejections import Title
from tests.support.dicom.archive import instance
from tests.support.peers.pacs import SERIES, STUDY, Pacs, numbered, peers, running_pacs
from tests.support.running import free_port
from tests.support.web.web_archive import WebArchive, served, web_archive

PLACES = ("9.1.0", "9.1.1", "9.1.2")
BELOW = f"/studies/{STUDY}/series/{SERIES}/instances/2.25.9.1.1"
PREVIEW = np.arange(224 * 224, dtype=np.uint32).reshape(224, 224).astype(np.uint8)


def item(place: str) -> Item:
    """An image of the PACS, as it is indexed."""
    record = instance(place, 0, attributes={"SOPClassUID": SecondaryCaptureImageStorage, "PatientName": "Doe^J"}).record
    return Item(record, pack(np.zeros((1, 64), bool)), PREVIEW[None], 1)


@contextmanager
def behind(folder: Path, pacs: Pacs, **chosen: Any) -> Iterator[WebArchive]:
    """A node that has indexed what a PACS holds."""
    items = [item(place) for place in PLACES]
    with running_pacs(pacs), web_archive(folder, items, **{**peers(pacs.port), **chosen}) as archive:
        yield archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    pacs = Pacs([numbered(number) for number in range(3)])
    with behind(tmp_path_factory.mktemp("web") / "home", pacs) as archive:
        yield archive


def files(answer: Any) -> list[Dataset]:
    """DICOM files in the parts of a multipart answer."""
    boundary = re.search(r"boundary=(\w+)", answer.headers["content-type"])
    assert boundary is not None
    parts = answer.content.split(f"--{boundary[1]}".encode())
    assert (parts[0], parts[-1]) == (b"", b"--\r\n")
    bodies = [part.split(b"\r\n\r\n", 1)[1][:-2] for part in parts[1:-1]]
    return [dcmread(io.BytesIO(body)) for body in bodies]


@pytest.mark.parametrize(
    ("path", "count"), [(f"/studies/{STUDY}", 3), (f"/studies/{STUDY}/series/{SERIES}", 3), (BELOW, 1)]
)
def test_instances_come_as_the_pacs_has_them(archive: WebArchive, path: str, count: int) -> None:
    answer = archive.get(path)

    assert answer.status_code == 200, answer.text
    found = files(answer)
    assert len(found) == count
    assert found[-1] == numbered(int(found[-1].SOPInstanceUID[-1]))


def test_an_instance_that_a_note_rejects_is_not_in_its_study(tmp_path: Path) -> None:
    rejected = numbered(1).SOPInstanceUID
    with behind(tmp_path / "home", Pacs([numbered(number) for number in range(3)])) as archive:
        reject(archive.resources.reading.database, RejectionNote("2.25.9", Title.QUALITY, {rejected: STUDY}, 1 << 60))

        found = files(archive.get(f"/studies/{STUDY}"))

        assert sorted(file.SOPInstanceUID for file in found) == [numbered(number).SOPInstanceUID for number in (0, 2)]
        assert archive.get(BELOW).status_code == 404


def test_one_instance_can_come_without_parts(archive: WebArchive) -> None:
    answer = archive.get(BELOW, headers={"Accept": "application/dicom"})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/dicom")
    assert dcmread(io.BytesIO(answer.content)) == numbered(1)


def test_a_client_that_is_not_ours_searches_and_retrieves(archive: WebArchive) -> None:
    with served(archive):
        client = DICOMwebClient(f"http://127.0.0.1:{archive.resources.settings.http_port}/dicom-web")

        assert [each["0020000D"]["Value"][0] for each in client.search_for_studies()] == [STUDY]
        assert len(client.search_for_instances(STUDY, SERIES, fields=["Rows"])) == 3
        assert sorted(each.SOPInstanceUID[-1] for each in client.retrieve_series(STUDY, SERIES)) == ["0", "1", "2"]
        assert client.retrieve_instance(STUDY, SERIES, "2.25.9.1.1") == numbered(1)
        assert client.retrieve_instance_frames(STUDY, SERIES, "2.25.9.1.1", [1]) == [numbered(1).PixelData]
        assert len(client.retrieve_study_metadata(STUDY)) == 3
        assert client.retrieve_instance_rendered(STUDY, SERIES, "2.25.9.1.1", media_types=("image/png",))


def test_metadata_are_what_the_index_knows(archive: WebArchive) -> None:
    one, every = archive.get(f"{BELOW}/metadata"), archive.get(f"/studies/{STUDY}/metadata")

    found = Dataset.from_json(one.json()[0])
    assert (found.SOPInstanceUID, found.PatientName, found.SOPClassUID) == (
        "2.25.9.1.1",
        "Doe^J",
        SecondaryCaptureImageStorage,
    )
    assert len(every.json()) == 3


@pytest.mark.parametrize("kind", ["rendered", "thumbnail"])
@pytest.mark.parametrize("path", [f"/studies/{STUDY}", f"/studies/{STUDY}/series/{SERIES}", BELOW, f"{BELOW}/frames/1"])
def test_pictures_are_previews(archive: WebArchive, path: str, kind: str) -> None:
    png = archive.get(f"{path}/{kind}", headers={"Accept": "image/png"})
    small = archive.get(f"{path}/{kind}?viewport=100,50")

    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png.content))), PREVIEW)
    assert small.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(small.content)).size == (50, 50)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/9.9", 404),
        (f"/studies/9.9/series/{SERIES}", 404),
        (f"{BELOW}/frames/2", 404),
        (f"{BELOW}/frames/0", 400),
        (f"{BELOW}/frames/1,x", 400),
        (f"{BELOW}/frames/7/rendered", 404),
        (f"{BELOW}/rendered?viewport=0,0", 400),
        (f"{BELOW}/rendered?viewport=99999,1", 400),
        ("/studies/x/metadata", 400),
        (f"/studies/{'1' * 65}", 400),
        ("/studies/9.9/metadata", 404),
        (f"{BELOW}/bulkdata/1", 404),
    ],
)
def test_what_is_not_there_is_not_found(archive: WebArchive, path: str, status: int) -> None:
    answer = archive.get(path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_representation_that_is_not_offered_is_refused(archive: WebArchive) -> None:
    for path in (BELOW, f"{BELOW}/frames/1", f"{BELOW}/rendered", f"{BELOW}/metadata"):
        assert archive.get(path, headers={"Accept": "text/html"}).status_code == 406


def test_without_a_source_images_are_not_kept(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", [item(PLACES[1])]) as archive:
        answer = archive.get(BELOW)

    assert (answer.status_code, "source_peer" in answer.json()["detail"]) == (404, True)


def test_a_source_that_does_not_answer_is_a_bad_gateway(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home", [item(PLACES[1])], **peers(free_port())) as archive:
        answer = archive.get(BELOW)

    assert (answer.status_code, answer.json()["dimse_status"]) == (502, "A702")


def test_a_retrieval_that_breaks_off_is_seen_to_be_cut(tmp_path: Path) -> None:
    pacs = Pacs([numbered(number) for number in range(3)], aborts_after=1)
    with behind(tmp_path / "home", pacs) as archive, served(archive) as connection:
        connection.request("GET", f"/dicom-web/studies/{STUDY}")
        answer = connection.getresponse()

        with pytest.raises(Exception, match="IncompleteRead"):
            answer.read()

    assert answer.status == 200


class _Upstream(BaseHTTPRequestHandler):
    """A DICOMweb service that returns the path, and what was accepted."""

    def do_GET(self) -> None:
        missing = self.path.endswith("/2.25.9.1.2")
        body = f"{self.path} {self.headers['Accept']}".encode()
        self.send_response(500 if missing else 200)
        self.send_header("Content-Type", "multipart/related; boundary=b")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@contextmanager
def upstream() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Upstream)
    Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/web"
    finally:
        server.shutdown()
        server.server_close()


def source(url: str, *, redirects: bool) -> dict[str, Any]:
    entry = {"host": "127.0.0.1", "port": 1, "dicomweb_url": url, "dicomweb_redirect": redirects}
    return {"peers": {"PACS": entry}, "source_peer": "PACS"}


def test_the_dicomweb_of_the_pacs_is_passed_through(tmp_path: Path) -> None:
    items = [item(place) for place in PLACES]
    with upstream() as url, web_archive(tmp_path / "home", items, **source(url, redirects=False)) as archive:
        passed = archive.get(f"{BELOW}/frames/1?x=%20y", headers={"Accept": "image/jls"})
        broken, unknown = archive.get(BELOW.replace(SERIES, "9", 1)), archive.get("/studies/9.9/metadata")
        failing = archive.get(f"{BELOW[:-1]}2")

    assert (passed.status_code, passed.headers["content-type"]) == (200, "multipart/related; boundary=b")
    assert passed.text == f"/web{BELOW}/frames/1?x=%20y image/jls"
    assert (broken.status_code, unknown.status_code, failing.status_code) == (404, 404, 502)


def test_clients_are_redirected_to_the_dicomweb_of_the_pacs(tmp_path: Path) -> None:
    items = [item(place) for place in PLACES]
    url = "https://pacs.hospital/dicom-web"
    with web_archive(tmp_path / "home", items, **source(url, redirects=True)) as archive:
        answer = archive.get(f"{BELOW}/metadata", follow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (307, f"{url}{BELOW}/metadata")

"""Query by a posted file: the same answer as by the indexed example, for DICOM objects and pictures, stored nowhere."""

import io
import json
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydicom import dcmread

from hashing.images.pixels import network_input
from node.cli.send import files
from node.cli.similar import Asking, ask_database, ask_node
from node.settings import Settings
from tests.support.running import RunningNode

DICOM, PNG, JPEG = "application/dicom", "image/png", "image/jpeg"
ORDER = "00751020", "00751022", "00080018"  # rank, distance, SOP Instance UID


class Answer:
    """Status and body of an HTTP answer of a running node."""

    def __init__(self, node: RunningNode, method: str, path: str, body: Any = None, **headers: str) -> None:
        connection = HTTPConnection("127.0.0.1", node.settings.http_port, timeout=60)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/dicom-web{path}", body, named)
        response = connection.getresponse()
        self.status, self.headers, self.body = response.status, response.headers, response.read()
        connection.close()

    @property
    def order(self) -> list[list[Any]]:
        """Rank, distance and UID of each result."""
        assert self.status == 200, self.body
        return [[found[tag]["Value"][0] for tag in ORDER] for found in json.loads(self.body)]


@pytest.fixture(scope="module")
def radiograph(phantoms: Path) -> Path:
    return next(path for path in files(phantoms) if dcmread(path, stop_before_pixels=True).Modality in ("CR", "DX"))


def picture(path: Path, kind: str) -> bytes:
    octets = io.BytesIO()
    Image.fromarray(network_input(dcmread(path))).save(octets, kind)
    return octets.getvalue()


@pytest.mark.parametrize("query", ["", "&exclude=PATIENT", "&Modality=CT", "&exclude=DUPLICATE,STUDY", "&frame=1"])
def test_a_posted_instance_is_answered_as_the_indexed_one(hospital: RunningNode, radiograph: Path, query: str) -> None:
    uid = dcmread(radiograph, stop_before_pixels=True).SOPInstanceUID
    before = hospital.status().entities

    indexed = Answer(hospital, "GET", f"/instances?similarto={uid}&limit=5{query}")
    posted = Answer(
        hospital, "POST", f"/similar?level=instance&limit=5{query}", radiograph.read_bytes(), Content_Type=DICOM
    )

    assert posted.order == indexed.order
    assert hospital.status().entities == before
    assert list((hospital.settings.run_path / "examples").iterdir()) == []


@pytest.mark.parametrize(("media_type", "kind"), [(PNG, "PNG"), (JPEG, "JPEG")])
def test_a_picture_is_an_example_of_the_modality_that_is_asked_for(
    hospital: RunningNode, radiograph: Path, media_type: str, kind: str
) -> None:
    dataset = dcmread(radiograph, stop_before_pixels=True)
    path = f"/similar?level=instance&limit=3&Modality={dataset.Modality}"

    found = Answer(hospital, "POST", path, picture(radiograph, kind), Content_Type=media_type).order

    assert found[0][2] == dataset.SOPInstanceUID
    assert found[0][1] <= (0 if kind == "PNG" else 4)


@pytest.mark.parametrize(
    ("media_type", "body", "status"),
    [
        ("text/plain", b"hello", 415),
        (DICOM, b"hello", 422),
        (DICOM, b"", 422),
        (DICOM, b"\0" * 128 + b"DICM" + b"\xff" * 400, 422),
        (PNG, b"\x89PNG\r\n\x1a\n" + b"\0" * 60, 422),
        (PNG, b"GIF89a", 422),
        (JPEG, b"\xff\xd8\xff\xe0" + b"\0" * 60, 422),
    ],
)
def test_what_is_no_example_is_refused(hospital: RunningNode, media_type: str, body: bytes, status: int) -> None:
    answer = Answer(hospital, "POST", "/similar", body, Content_Type=media_type)

    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(hospital: RunningNode) -> None:
    connection = HTTPConnection("127.0.0.1", hospital.settings.http_port, timeout=20)
    connection.putrequest("POST", "/dicom-web/similar")
    for name, value in (("Content-Type", DICOM), ("Content-Length", str(1 << 40))):
        connection.putheader(name, value)
    connection.endheaders()

    status = connection.getresponse().status

    connection.close()
    assert status == 413


def test_an_example_is_not_given_twice(hospital: RunningNode, radiograph: Path) -> None:
    answer = Answer(hospital, "POST", "/similar?similarto=1.2", radiograph.read_bytes(), Content_Type=DICOM)

    assert answer.status == 400


def test_what_a_node_receives_is_kept_with_class_scores_and_a_file_has_its_own(
    hospital: RunningNode, radiograph: Path
) -> None:
    known = str(dcmread(radiograph, stop_before_pixels=True).SOPInstanceUID)
    home = Settings(home=hospital.settings.home)

    by_uid = ask_node(hospital.peer, Asking.of(known, 3, "IMAGE", "", other_patients=False, ranking="CLASSES"))
    by_file = ask_database(home, Asking.of(str(radiograph), 4, "IMAGE", "", other_patients=False, ranking="CLASSES"))

    for cases, expected in ((by_uid, 3), (by_file, 4)):
        scores = [float(case.ranking_score) for case in cases]
        assert len(scores) == expected
        assert scores == sorted(scores, reverse=True)
        assert 0 < min(scores) <= max(scores) <= 1

"""Histories come in from a real Orthanc and a real dcmqrscp: whole, once, by every transport."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext, create_default_context
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from node.access.certificates import Authority
from storage.progress.entry import StudyState
from tests.support.peers.nginx import guarded
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.peers.pulling import Site, fill, site, study_of
from tests.support.running import free_port

pytestmark = pytest.mark.peers
PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
STUDIES = 12


@dataclass
class Archive:
    """An Orthanc with some studies, which knows LOOKALIKE at a port."""

    orthanc: Orthanc
    uids: set[str]
    port_of_ours: int

    @property
    def url(self) -> str:
        return f"{self.orthanc.url}/dicom-web"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if not Path(PLUGIN).exists():
        pytest.skip("the DICOMweb plug-in of Orthanc is not installed: apt-get install orthanc-dicomweb")
    ours = free_port()
    options: dict[str, Any] = {"Plugins": [PLUGIN], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}
    with running_orthanc(tmp_path_factory.mktemp("pacs") / "db", {"node": ("LOOKALIKE", ours)}, **options) as orthanc:
        studies = [study_of(number, 5, StudyDate=f"20{10 + number}0101") for number in range(STUDIES - 2)]
        studies += [study_of(90, 3, StudyDate=""), study_of(91, 3, StudyDate="20991231")]
        yield Archive(orthanc, {uid for study in studies for uid in fill(orthanc, study)}, ours)


@pytest.fixture
def ours(tmp_path: Path, archive: Archive) -> Iterator[Site]:
    with site(tmp_path / "home", archive.orthanc.port, archive.url, listens=True, port=archive.port_of_ours) as opened:
        yield opened


@pytest.mark.parametrize("transport", ["C-GET", "C-MOVE", "WADO-RS"])
def test_every_study_of_orthanc_comes_in_once_those_without_a_date_and_in_the_future_too(
    archive: Archive, ours: Site, transport: str
) -> None:
    job = ours.begin(transport=transport, associations=2)

    ours.run(job)

    assert ours.states(job) == {StudyState.DONE: STUDIES, StudyState.PARKED: 0, StudyState.WAITING: 0}
    assert ours.received == sorted(archive.uids)
    assert ours.progress.counts(job).received == len(archive.uids)


def test_an_archive_that_asks_for_a_certificate_and_a_token_is_shown_both_over_https(
    archive: Archive, tmp_path: Path
) -> None:
    authority, token = Authority.open(tmp_path / "certificates", days=2), "a-secret"
    of_proxy, of_node = (authority.issue(name, ["127.0.0.1"], days=2) for name in ("proxy", "node"))
    roots, both = of_node.with_name("authority.pem"), tmp_path / "node.pem"
    both.write_bytes(of_node.read_bytes() + of_node.with_suffix(".key").read_bytes())
    (tmp_path / "token").write_text(f"{token}\n")
    shown: dict[str, Any] = {"certificate": both, "authority": roots, "token_file": tmp_path / "token"}

    with guarded(tmp_path, archive.orthanc.url, of_proxy, roots, token) as url:
        stranger = create_default_context(cafile=str(roots))
        known = create_default_context(cafile=str(roots))
        known.load_cert_chain(both)
        assert [status(url, context) for context in (stranger, known)] == [400, 401]
        with site(tmp_path / "home", archive.orthanc.port, f"{url}/dicom-web") as opened:
            job = opened.begin(transport="WADO-RS", **shown)
            opened.run(job)
            assert opened.received == sorted(archive.uids)


def status(url: str, context: SSLContext) -> int:
    """HTTP status without a token."""
    try:
        with urlopen(f"{url}/dicom-web/studies", context=context, timeout=10) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code

"""Programs of others use every service of the node, each as its own people wrote it: client by operation by syntax."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from node.dicom.private import dcmtk_dictionary
from tests.node.ingest.test_receiver import picture
from tests.peers.test_dcmtk import standard_dictionaries
from tests.support.dicom.answering import ALL, Node, answering_node
from tests.support.dicom.archive import uid
from tests.support.peers.clients import Dcmjs, Dcmtk, Ended, OrthancUser, Pynetdicom
from tests.support.peers.orthanc import Orthanc, running_orthanc
from tests.support.peers.pacs import STUDY, destination, numbered, peers
from tests.support.running import free_port, program, run_peer

pytestmark = pytest.mark.peers

EXPLICIT, IMPLICIT = ExplicitVRLittleEndian, ImplicitVRLittleEndian
IMAGES = 2
STUDIES_OF_A = {uid("1"), uid("2")}
NEAREST_CT = [uid("1.1.2"), uid("3.1.1")]
"""CT images of the node's few studies in ascending distance from the example, which is left out."""
EXAMPLE = uid("1.1.1")
DCMJS = "dcmjs-dimse@0.3.3"


@dataclass
class Site:
    """A node with Orthanc behind it, which holds the images of one study, and a destination of moves."""

    node: Node
    orthanc: Orthanc
    received: list[str]

    def arrived(self, sop_instance_uid: str) -> bool:
        """True if the node stored an instance; it is removed again, for the next client."""
        spool = self.node.finder.retriever.spool
        entries = [entry for entry in spool if entry.sop_instance_uid == sop_instance_uid]
        spool.remove(entries)
        return bool(entries)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    program("Orthanc")
    folder, port, received = tmp_path_factory.mktemp("site"), free_port(), list[str]()
    with ExitStack() as stack:
        view = stack.enter_context(destination(received))
        modalities = {"node": ("LOOKALIKE", port), "view": ("VIEW", view)}
        orthanc = stack.enter_context(running_orthanc(folder / "orthanc", modalities))
        node = stack.enter_context(answering_node(folder / "home", port=port, **peers(orthanc.port, view)))
        for number in range(IMAGES):
            path = folder / f"{number}.dcm"
            numbered(number).save_as(path, enforce_file_format=True)
            orthanc.call("/instances", path.read_bytes())
        yield Site(node, orthanc, received)


def client(name: str, syntax: UID, site: Site, folder: Path) -> Any:
    """A client that asks in one transfer syntax; Orthanc chooses its own."""
    port = site.node.settings.port
    if name == "DCMTK":
        (folder / "lookalike.dic").write_text(dcmtk_dictionary())
        return Dcmtk(port, syntax, folder, ":".join([*standard_dictionaries(), str(folder / "lookalike.dic")]))
    return OrthancUser(site.orthanc) if name == "Orthanc" else Pynetdicom(port, syntax)


@pytest.fixture(scope="session")
def dcmjs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which dcmjs-dimse is installed; its tests are skipped where the registry cannot be reached."""
    folder = tmp_path_factory.mktemp("dcmjs")
    command = (program("npm"), "install", "--prefix", folder, "--no-audit", "--no-fund", DCMJS)
    installed = run_peer(*command, check=False)
    if installed.returncode != 0:
        pytest.skip(f"{DCMJS} cannot be installed: {installed.stderr[-200:]}")
    return folder


CLIENTS = [
    pytest.param(name, syntax, id=f"{name}, {label}")
    for name, syntaxes in {
        "DCMTK": {"explicit": EXPLICIT, "implicit": IMPLICIT},
        "pynetdicom": {"explicit": EXPLICIT, "implicit": IMPLICIT},
        "Orthanc": {"its choice": EXPLICIT},
    }.items()
    for label, syntax in syntaxes.items()
]
ASKERS = [parameter for parameter in CLIENTS if parameter.values[0] != "Orthanc"]


@pytest.fixture
def file(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """An image in the transfer syntax of the client, and its SOP Instance UID."""
    sop_instance_uid = f"2.25.77.{crc32(request.node.name.encode())}"
    image = picture(SOPInstanceUID=sop_instance_uid, StudyInstanceUID="2.25.77", SeriesInstanceUID="2.25.77.1")
    image.file_meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    syntax = request.getfixturevalue("syntax")
    image.file_meta.TransferSyntaxUID = syntax
    path = tmp_path / "image.dcm"
    image.save_as(path, enforce_file_format=True, implicit_vr=syntax.is_implicit_VR, little_endian=True)
    return path, sop_instance_uid


@pytest.mark.parametrize(("name", "syntax"), CLIENTS)
def test_echo_and_store(name: str, syntax: UID, site: Site, file: tuple[Path, str], tmp_path: Path) -> None:
    user, (path, sop_instance_uid) = client(name, syntax, site, tmp_path), file

    user.echo()
    user.store(path)

    assert site.arrived(sop_instance_uid)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_dcmsend_stores(syntax: UID, site: Site, file: tuple[Path, str], tmp_path: Path) -> None:
    client("DCMTK", syntax, site, tmp_path).send(file[0])

    assert site.arrived(file[1])


@pytest.mark.parametrize(("name", "syntax"), CLIENTS)
def test_find_by_keys(name: str, syntax: UID, site: Site, tmp_path: Path) -> None:
    found = client(name, syntax, site, tmp_path).find("STUDY", "StudyInstanceUID", PatientID="A")

    assert set(found) == STUDIES_OF_A
    assert len(found) == len(STUDIES_OF_A)


@pytest.mark.parametrize(("name", "syntax"), CLIENTS)
def test_find_by_example(name: str, syntax: UID, site: Site, tmp_path: Path) -> None:
    assert client(name, syntax, site, tmp_path).find_like(EXAMPLE, "CT") == NEAREST_CT


@pytest.mark.parametrize(("name", "syntax"), [parameter for parameter in CLIENTS if parameter.values[0] != "DCMTK"])
def test_find_by_example_without_a_private_creator(name: str, syntax: UID, site: Site, tmp_path: Path) -> None:
    assert client(name, syntax, site, tmp_path).find_like(EXAMPLE, "CT", creator=False) == NEAREST_CT


def cancelled(user: Any) -> Ended:
    """End of a query that was cancelled in time: a cancel may come after the last response (PS3.4 C.4.1.2)."""
    endings = (user.cancel(PatientID=ALL["PatientID"], PatientName="", SOPClassUID="") for _ in range(10))
    return next((ended for ended in endings if ended.status != 0), Ended(0, 0))


@pytest.mark.parametrize(("name", "syntax"), ASKERS)
def test_cancel(name: str, syntax: UID, site: Site, tmp_path: Path) -> None:
    ended = cancelled(client(name, syntax, site, tmp_path))

    assert ended.status == 0xFE00
    assert 3 <= ended.results < 1500


@pytest.mark.parametrize(("name", "syntax"), ASKERS)
def test_move(name: str, syntax: UID, site: Site, tmp_path: Path) -> None:
    site.received.clear()

    completed = client(name, syntax, site, tmp_path).move(STUDY, "VIEW")

    assert completed == IMAGES
    assert sorted(site.received) == [numbered(number).SOPInstanceUID for number in range(IMAGES)]


def test_move_by_orthanc(site: Site) -> None:
    site.received.clear()

    OrthancUser(site.orthanc).move(STUDY, "VIEW")

    assert len(site.received) == IMAGES


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_get_by_pynetdicom(syntax: UID, site: Site, tmp_path: Path) -> None:
    assert Pynetdicom(site.node.settings.port, syntax).get(STUDY, SecondaryCaptureImageStorage) == IMAGES


def test_get_by_dcmtk(site: Site, tmp_path: Path) -> None:
    assert client("DCMTK", EXPLICIT, site, tmp_path).get(STUDY) == IMAGES

    assert len(list(tmp_path.glob("*2.25.9.1.*"))) == IMAGES


@pytest.mark.slow
@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
def test_dcmjs_uses_every_service(syntax: UID, dcmjs: Path, site: Site, file: tuple[Path, str]) -> None:
    user, (path, sop_instance_uid) = Dcmjs(site.node.settings.port, syntax, dcmjs), file
    site.received.clear()

    user.echo()
    user.store(path)

    assert site.arrived(sop_instance_uid)
    assert set(user.find("STUDY", "StudyInstanceUID", PatientID="A")) == STUDIES_OF_A
    assert user.find_like(EXAMPLE, "CT") == NEAREST_CT
    assert cancelled(user).status == 0xFE00
    assert user.move(STUDY, "VIEW") == len(site.received) == IMAGES
    assert user.get(STUDY) == IMAGES

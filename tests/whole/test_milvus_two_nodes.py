"""Two nodes on one collection: each receives its own senders' images, and each finds the images of both."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.cli.send import files
from node.cli.similar import Asking, ask_node
from node.dicom.private import Element, add_block
from tests.support.running import RunningNode, running_node, wait_until
from tests.support.storage.milvus_server import MilvusServer, milvus_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, phantoms: Path) -> Iterator[tuple[RunningNode, RunningNode]]:
    """The first patient's images go to one node, the others' to the other, and three images to both."""
    folder, paths = tmp_path_factory.mktemp("two"), sorted(files(phantoms))
    patients = [str(dcmread(path, stop_before_pixels=True).PatientID) for path in paths]
    first = [path for path, patient in zip(paths, patients, strict=True) if patient == patients[0]]
    second = [path for path in paths if path not in first] + first[:3]
    with ExitStack() as stack:
        server: MilvusServer = stack.enter_context(milvus_server())
        settings = {"index": "milvus", "milvus_uri": server.uri, "milvus_shared": "true", "milvus_timeout_s": "20"}
        pair = [stack.enter_context(running_node(folder / name, **settings)) for name in ("one", "two")]
        for node, share in zip(pair, (first, second), strict=True):
            assert {one.status for one in node.peer.store(share)} == {0}
            node.wait_indexed()
            wait_until(partial(is_fed, node), "Milvus to be fed")
        yield pair[0], pair[1]


def is_fed(node: RunningNode) -> bool:
    return node.status().unfed == 0


def cases(node: RunningNode, uid: str, level: str = "IMAGE") -> list[tuple[str, str, str]]:
    asking = Asking.of(uid, 300, level, "", other_patients=False)
    return [(case.rank, case.distance, case.uid) for case in ask_node(node.peer, asking)]


@pytest.mark.parametrize("level", ["IMAGE", "SERIES", "STUDY"])
def test_each_node_finds_what_one_node_with_all_images_finds(
    nodes: tuple[RunningNode, RunningNode], hospital: RunningNode, phantoms: Path, level: str
) -> None:
    """So no image is found twice, though two nodes have it."""
    for node, path in zip(nodes, (sorted(files(phantoms))[0], sorted(files(phantoms))[-1]), strict=True):
        uid = str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)

        found, expected = cases(node, uid, level), cases(hospital, uid, level)

        assert len(found) > 1
        assert [case[1:] for case in found] == [case[1:] for case in expected]


def test_a_case_of_the_other_node_is_named_as_that_node_names_it(
    nodes: tuple[RunningNode, RunningNode], hospital: RunningNode, phantoms: Path
) -> None:
    """Names, dates and UIDs come from the index; what would have to be counted is empty."""
    example = dcmread(sorted(files(phantoms))[0], stop_before_pixels=True)
    keys = ("PatientName", "StudyDate", "StudyInstanceUID", "Modality", "NumberOfStudyRelatedInstances")

    found, expected = (answers(node, str(example.SOPInstanceUID), keys) for node in (nodes[0], hospital))

    foreign = [one for one in found if one.PatientName != example.PatientName]
    assert foreign
    named = {str(one.SOPInstanceUID): [str(one[key].value) for key in keys[:-1]] for one in expected}
    for one in foreign:
        assert [str(one[key].value) for key in keys[:-1]] == named[str(one.SOPInstanceUID)]
        assert one.NumberOfStudyRelatedInstances is None


def test_a_patient_of_the_other_node_without_the_issuer_is_no_look_alike_of_himself(
    nodes: tuple[RunningNode, RunningNode], phantoms: Path, tmp_path: Path
) -> None:
    """And nor is, from there, the patient whose issuer only this node was told."""
    here = dcmread(sorted(files(phantoms))[0])
    there = dcmread(sorted(files(phantoms))[0])
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(there, keyword, f"{there[keyword].value}.9")
    there.file_meta.MediaStorageSOPInstanceUID = there.SOPInstanceUID
    del there.IssuerOfPatientID
    there.save_as(tmp_path / "there.dcm")
    assert [one.status for one in nodes[1].peer.store([tmp_path / "there.dcm"])] == [0]
    nodes[1].wait_indexed()
    wait_until(partial(is_fed, nodes[1]), "Milvus to be fed")

    for node, example in ((nodes[0], here), (nodes[1], there)):
        every, others = (others_of(node, example, other_patients=flag) for flag in (False, True))

        assert here.PatientID in every
        assert others
        assert here.PatientID not in others


def others_of(node: RunningNode, example: Dataset, *, other_patients: bool) -> set[str]:
    """Patient IDs of the look-alikes of an image."""
    exclusion = "PATIENT" if other_patients else "SELF"
    return {str(one.PatientID) for one in answers(node, str(example.SOPInstanceUID), ("PatientID",), exclusion)}


def answers(node: RunningNode, uid: str, keys: tuple[str, ...], exclude: str = "SELF") -> list[Dataset]:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    for key in ("SOPInstanceUID", *keys):
        setattr(identifier, key, None)
    add_block(
        identifier,
        [(Element.EXAMPLE_SOP_INSTANCE_UID, uid), (Element.MAXIMUM_MATCHES, "300"), (Element.EXCLUDE, exclude)],
    )
    return list(node.peer.find(identifier))

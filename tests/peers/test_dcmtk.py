"""DCMTK as the other side: its senders store, its findscu asks."""

import csv
import re
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
    generate_uid,
)

from node.cli.send import files
from node.dicom.private import Element, add_block, dcmtk_dictionary
from storage.record import Level
from tests.support.running import RunningNode, program, run_peer, running_node

pytestmark = pytest.mark.peers

DICTIONARIES = (Path("/usr/share/libdcmtk17"), Path("/usr/share/libdcmtk16"), Path("/usr/share/dcmtk"))
IMPLICIT = "-xi"


def chest_radiograph(phantoms: Path) -> str:
    """SOP Instance UID of a frontal radiograph."""
    with (phantoms / "truth.csv").open(newline="") as table:
        return next(row["sop_instance_uid"] for row in csv.DictReader(table) if row["modality"] in {"CR", "DX"})


def standard_dictionaries() -> list[str]:
    """Paths of the dictionaries that DCMTK is installed with, where it reads them from files."""
    folder = next((folder for folder in DICTIONARIES if folder.is_dir()), None)
    return [str(folder / name) for name in ("dicom.dic", "private.dic")] if folder else []


@pytest.fixture
def dictionary(tmp_path: Path) -> str:
    """Value of DCMDICTPATH with our dictionary in it."""
    own = tmp_path / "lookalike.dic"
    own.write_text(dcmtk_dictionary())
    return ":".join([*standard_dictionaries(), str(own)])


def ask(node: RunningNode, *arguments: str, dictionary: str, query: Path | None = None) -> list[str]:
    """Responses that findscu prints, one text each."""
    address = (node.settings.host, str(node.settings.port))
    files_last = () if query is None else (query,)
    command = (program("findscu"), "-S", "-aec", node.settings.ae_title, *arguments, *address, *files_last)
    result = run_peer(*command, DCMDICTPATH=dictionary)
    return re.split(r"Find Response: \d+", result.stdout + result.stderr)[1:]


STORESCU_PROPOSES = {
    ExplicitVRLittleEndian: "-xe",
    ImplicitVRLittleEndian: "-xi",
    DeflatedExplicitVRLittleEndian: "-xd",
    JPEGLSLossless: "-xt",
    JPEG2000Lossless: "-xv",
    RLELossless: "-xr",
}


def test_dcmsend_and_storescu_deliver_every_phantom(phantoms: Path, tmp_path: Path) -> None:
    paths = list(files(phantoms))
    half = len(paths) // 2
    with running_node(tmp_path / "home") as node:
        target = ("-aec", node.settings.ae_title, node.settings.host, str(node.settings.port))

        run_peer(program("dcmsend"), "-dn", *target, *paths[:half])
        for syntax, some in by_transfer_syntax(paths[half:]).items():
            run_peer(program("storescu"), STORESCU_PROPOSES[syntax], *target, *some)
        status = node.wait_indexed()

    assert (status.entities[Level.IMAGE], status.set_aside) == (len(paths), {})


def by_transfer_syntax(paths: list[Path]) -> dict[UID, list[Path]]:
    """Files by how they are encoded: storescu proposes one compressed syntax at a time."""
    groups: dict[UID, list[Path]] = {}
    for path in paths:
        groups.setdefault(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID, []).append(path)
    return groups


@pytest.mark.parametrize("encoding", [(), (IMPLICIT,)], ids=["explicit VR", "implicit VR"])
def test_findscu_gets_ranked_look_alikes_with_the_dictionary(
    encoding: tuple[str, ...], hospital: RunningNode, phantoms: Path, dictionary: str
) -> None:
    keys = [
        "QueryRetrieveLevel=IMAGE", "SOPInstanceUID", "Modality", "(0075,0010)=LOOKALIKE SIMILARITY 1.0",
        f"(0075,1001)={chest_radiograph(phantoms)}", "(0075,1006)=3", "(0075,1020)", "(0075,1022)",
    ]  # fmt: skip

    responses = ask(hospital, *encoding, *(part for key in keys for part in ("-k", key)), dictionary=dictionary)

    assert [re.search(r"\(0075,1020\) \w\w \[(\d)", text)[1] for text in responses] == ["1", "2", "3"]  # type: ignore[index]
    distances = [int(re.search(r"\(0075,1022\) \w\w \[(\d+)", text)[1]) for text in responses]  # type: ignore[index]
    assert distances == sorted(distances)
    assert all("SimilarityRank" in text for text in responses)


def test_findscu_asks_with_a_query_file(hospital: RunningNode, phantoms: Path, tmp_path: Path, dictionary: str) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = ""
    add_block(
        identifier, [(Element.EXAMPLE_SOP_INSTANCE_UID, chest_radiograph(phantoms)), (Element.SIMILARITY_RANK, "")]
    )
    query = tmp_path / "query.dcm"
    identifier.save_as(query, implicit_vr=False, little_endian=True)

    responses = ask(hospital, query=query, dictionary=dictionary)

    assert len(responses) > 1
    assert all("(0075,1020)" in text for text in responses)


def test_findscu_matches_ordinary_keys(hospital: RunningNode, phantoms: Path, dictionary: str) -> None:
    expected = {
        str(dataset.SeriesInstanceUID)
        for path in files(phantoms)
        if (dataset := dcmread(path, stop_before_pixels=True)).Modality == "CT"
    }

    keys = ("-k", "QueryRetrieveLevel=SERIES", "-k", "Modality=CT", "-k", "SeriesInstanceUID")
    responses = ask(hospital, *keys, dictionary=dictionary)

    found = {re.search(r"\(0020,000e\) UI \[([0-9.]+)", text)[1] for text in responses}  # type: ignore[index]
    assert found == expected


def test_an_unknown_example_is_explained(hospital: RunningNode, dictionary: str) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", "(0075,0010)=LOOKALIKE SIMILARITY 1.0", "-k", "(0075,1001)=1.2.3")
    address = (hospital.settings.host, str(hospital.settings.port))
    command = (program("findscu"), "-d", "-S", "-aec", hospital.settings.ae_title, *keys, *address)

    result = run_peer(*command, check=False, DCMDICTPATH=dictionary)

    assert "0xc101" in (result.stdout + result.stderr).lower()


@pytest.mark.parametrize("number", ["32", "100", "3"])
@pytest.mark.parametrize("encoding", [(), (IMPLICIT,)], ids=["explicit VR", "implicit VR"])
def test_a_number_that_findscu_read_as_hexadecimal_digits_is_refused(
    encoding: tuple[str, ...], number: str, hospital: RunningNode, phantoms: Path, dictionary: str
) -> None:
    """Before its Private Creator findscu does not know the VR of a key."""
    keys = [
        "QueryRetrieveLevel=IMAGE", "SOPInstanceUID", f"(0075,1006)={number}",
        "(0075,0010)=LOOKALIKE SIMILARITY 1.0", f"(0075,1001)={chest_radiograph(phantoms)}",
    ]  # fmt: skip
    address = (hospital.settings.host, str(hospital.settings.port))
    options = ("-d", "-S", "-aec", hospital.settings.ae_title, *encoding)
    command = (program("findscu"), *options, *(part for key in keys for part in ("-k", key)), *address)

    result = run_peer(*command, check=False, DCMDICTPATH=dictionary)

    assert "0xa900" in (result.stdout + result.stderr).lower()


def test_findscu_with_a_run_of_asterisks_leaves_the_node_at_work(hospital: RunningNode, dictionary: str) -> None:
    keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"PatientName={'*' * 60}x")

    responses = [ask(hospital, *keys, dictionary=dictionary) for _ in range(6)]
    run_peer(program("echoscu"), "-aec", hospital.settings.ae_title, "127.0.0.1", str(hospital.settings.port))

    assert responses == [[]] * 6


@pytest.mark.parametrize(
    ("converter", "options"),
    [
        ("dcmconv", ("+te",)), ("dcmconv", ("+ti",)), ("dcmconv", ("+tb",)), ("dcmconv", ("+td",)),
        ("dcmcrle", ()), ("dcmcjpeg", ("+e1",)), ("dcmcjpls", ()),
    ],
    ids=["explicit", "implicit", "big endian", "deflated", "RLE", "JPEG lossless", "JPEG-LS"],
)  # fmt: skip
def test_the_first_answer_for_a_lossless_re_encoding_is_its_twin(
    converter: str, options: tuple[str, ...], hospital: RunningNode, phantoms: Path, tmp_path: Path
) -> None:
    original = next(
        dataset
        for path in files(phantoms)
        if (dataset := dcmread(path)).Modality == "CT" and dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    )
    twin_uid = generate_uid(prefix=None, entropy_srcs=[original.SOPInstanceUID, converter, *options])
    source, target = tmp_path / "source.dcm", tmp_path / "target.dcm"
    first_uid = original.SOPInstanceUID
    original.SOPInstanceUID = original.file_meta.MediaStorageSOPInstanceUID = twin_uid
    original.save_as(source)
    run_peer(program(converter), *options, source, target)
    command = (program("dcmsend"), "-aec", hospital.settings.ae_title, hospital.settings.host)
    run_peer(*command, str(hospital.settings.port), target)
    hospital.wait_indexed()

    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.SOPInstanceUID = ""
    example = (Element.EXAMPLE_SOP_INSTANCE_UID, twin_uid)
    add_block(identifier, [example, (Element.HAMMING_DISTANCE, ""), (Element.MAXIMUM_DISTANCE, "0")])
    answers = list(hospital.peer.find(identifier))

    assert {str(answer[0x0075, 0x1022].value) for answer in answers} == {"0"}
    assert str(first_uid) in {str(answer.SOPInstanceUID) for answer in answers}

"""Identity that was planted everywhere comes out nowhere: every output is walked as a masked and as a blind caller."""

import itertools
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt

from node.access.disclosure import Discloser, decade_only, year_only
from node.dicom.hierarchy import ATTRIBUTES, LEVEL_OF
from node.dicom.private import SIMILARITY_FIND, Element
from node.dicom.sop_classes import PATIENT_ROOT_FIND, REPOSITORY_QUERY, STUDY_ROOT_FIND
from node.errors import Status
from node.options.access import Disclosure
from storage.record import LEVELS, Level
from tests.support.dicom.answering import Node, answering_node, ours
from tests.support.dicom.archive import identifier, instance, uid
from tests.support.web.web_archive import BASE, WebArchive, web_archive

SECRETS = ("Plantagenet", "PLANTED", "19510817", "20210304", "081537.513")
"""Parts of the planted values: a name, IDs, two dates, a time."""
PLANTED = {
    keyword: {"PatientName": "Plantagenet^Petronella", "PatientBirthDate": "19510817", "PatientAge": "069Y"}.get(
        keyword, "20210304" if keyword.endswith("Date") else "081537.513" if keyword.endswith("Time") else "PLANTED.7"
    )
    for keyword in LEVEL_OF
    if keyword in itertools.chain(*ATTRIBUTES.values())
    if not keyword.endswith("UID")
}
ITEMS = [
    instance("7.1.1", 0, attributes=PLANTED | {"Modality": "CT", "PatientSex": "F", "BurnedInAnnotation": "YES"}),
    instance("7.1.2", 3, attributes=PLANTED | {"Modality": "CT", "PatientSex": "F"}),
    instance("8.1.1", 5, attributes=PLANTED | {"Modality": "CT", "PatientID": "PLANTED.8"}),
]
EXAMPLE = {Element.EXAMPLE_SOP_INSTANCE_UID: uid("7.1.1")}
RETURNED = dict.fromkeys((element for element in Element if element >= Element.SIMILARITY_RANK), "")
REAL_UIDS = tuple(uid(place) for place in ("7.1.2", "8.1.1", "8.1"))
DISCLOSED = {
    "ViewPosition", "ImageType", "Laterality", "ImageLaterality", "InstanceNumber", "SeriesNumber", "NumberOfFrames",
    "PatientOrientation", "ImageOrientationPatient", "BurnedInAnnotation",
    "Modality", "PatientSex", "BodyPartExamined", "Rows", "Columns",
}  # fmt: skip
CALLERS: dict[str, Any] = {
    name: {
        "ae_titles": [name], "web": True, "networks": ["127.0.0.0/8", network], "disclosure": name,
        "rights": ["find", "similar", "retrieve", "ask", "store"],
    }
    for name, network in (("MASKED", "10.0.1.0/24"), ("BLIND", "10.0.2.0/24"), ("FULL", "10.0.3.0/24"))
}  # fmt: skip
NETWORKS = {"MASKED": "10.0.1.7", "BLIND": "10.0.2.7", "FULL": "10.0.3.7"}
HIDDEN = ("MASKED", "BLIND")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("dicom") / "home", ITEMS, callers=CALLERS) as node:
        yield node


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    only_web = {name: entry | {"networks": [f"{NETWORKS[name]}/32"]} for name, entry in CALLERS.items()}
    with web_archive(tmp_path_factory.mktemp("web") / "home", ITEMS, callers=only_web) as archive:
        yield archive


def ask(node: Node, title: str, model: UID, request: Dataset) -> tuple[list[Dataset], bytes]:
    """Identifiers of the pending responses, and every byte that came."""
    octets: list[bytes] = []
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 200  # the first query may wait for the compiler
    listening: Any = [(evt.EVT_DATA_RECV, lambda event: octets.append(event.data))]
    contexts = [build_context(model, ExplicitVRLittleEndian)]
    address = (node.settings.host, node.settings.port)
    association = ae.associate(*address, contexts, node.settings.ae_title, evt_handlers=listening)
    assert association.is_established
    responses = list(association.send_c_find(request, model))
    association.release()
    assert responses[-1][0].Status == Status.SUCCESS, responses[-1][0]
    return [found for _, found in responses if found is not None], b"".join(octets)


def is_clean(text: bytes | str, name: str) -> bool:
    octets = text if isinstance(text, bytes) else text.encode()
    secrets = SECRETS + (REAL_UIDS if name == "BLIND" else ())
    return not any(secret.encode() in octets for secret in secrets)


def everything(level: Level) -> dict[str, str]:
    """Every key that may be asked for at a level."""
    levels = LEVELS[: LEVELS.index(level) + 1]
    return {keyword: "" for keyword, its_level in LEVEL_OF.items() if its_level in levels}


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("level", LEVELS)
def test_ordinary_queries_name_nobody(node: Node, level: Level, name: str) -> None:
    found, octets = ask(node, name, PATIENT_ROOT_FIND, identifier(level, keys=everything(level)))

    assert found
    assert is_clean(octets, name)
    assert not ask_is_clean_for_full(node, level)


def ask_is_clean_for_full(node: Node, level: Level) -> bool:
    return is_clean(ask(node, "FULL", PATIENT_ROOT_FIND, identifier(level, keys=everything(level)))[1], "FULL")


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("model", [STUDY_ROOT_FIND, SIMILARITY_FIND])
def test_queries_by_example_name_nobody_and_give_bands(node: Node, model: UID, level: Level, name: str) -> None:
    request = identifier(level, EXAMPLE | RETURNED, everything(level) | {"PatientComments": ""})
    found, octets = ask(node, name, model, request)

    assert found
    assert is_clean(octets, name)
    assert {ours(one)[Element.HAMMING_DISTANCE] for one in found} <= {str(8 * band) for band in range(1, 9)}
    assert {ours(one)[Element.RANKING_SCORE] for one in found} == {""}
    assert {one.get("PatientComments", "") for one in found} == {""}  # it tells rank and distance to others
    assert {ours(one)[Element.SIMILARITY_SCORE] for one in found} <= {f"{1 - band / 8:g}" for band in range(1, 9)}


def test_no_uid_links_two_blind_answers(node: Node) -> None:
    request = identifier("IMAGE", EXAMPLE | RETURNED, dict.fromkeys(("SOPInstanceUID", "StudyInstanceUID"), ""))

    first, second = ([one.SOPInstanceUID for one in ask(node, "BLIND", STUDY_ROOT_FIND, request)[0]] for _ in "ab")

    assert len(first) == len(second) == 2
    assert not set(first) & set(second)


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("keyword", sorted(set(PLANTED) - DISCLOSED))
def test_nobody_is_found_by_what_is_not_shown(node: Node, keyword: str, name: str) -> None:
    level = max(LEVEL_OF[keyword], Level.STUDY, key=LEVELS.index)
    request = identifier(level, keys={keyword: PLANTED[keyword]})

    answer = final_status(node, name, STUDY_ROOT_FIND, request)

    assert answer.Status == Status.NOT_AUTHORIZED
    assert is_clean(answer.ErrorComment, name)


def final_status(node: Node, title: str, model: UID, request: Dataset) -> Any:
    ae = AE(title)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 200  # the first query may wait for the compiler
    contexts = [build_context(model, ExplicitVRLittleEndian)]
    association = ae.associate(node.settings.host, node.settings.port, contexts, node.settings.ae_title)
    responses = list(association.send_c_find(request, model))
    association.release()
    return responses[-1][0]


@pytest.mark.parametrize("name", HIDDEN)
def test_what_would_tell_distances_or_patients_apart_is_refused(node: Node, name: str) -> None:
    by_distance = identifier("STUDY", {**EXAMPLE, Element.MAXIMUM_DISTANCE: "3"})
    records = identifier("STUDY", StudyInstanceUID="")

    refused = [
        final_status(node, name, STUDY_ROOT_FIND, by_distance),
        final_status(node, name, REPOSITORY_QUERY, records),
    ]

    assert [answer.Status for answer in refused] == [Status.NOT_AUTHORIZED] * 2


PATHS = (
    "/", "/api/status", "/api/cases", f"/api/series/{uid('7.1')}", f"/api/similar/{uid('7.1.1')}",
    f"/api/similar/{uid('7.1.1')}?level=STUDY", f"{BASE}/studies", f"{BASE}/series", f"{BASE}/instances",
    f"{BASE}/studies?includefield=all", f"{BASE}/instances?includefield=all",
    f"{BASE}/studies?includefield=all&similarto={uid('7.1.1')}",
    f"{BASE}/instances?includefield=all&similarto={uid('7.1.1')}",
    f"{BASE}/studies/{uid('7')}/series?includefield=all",
    f"{BASE}/studies/{uid('7')}/series/{uid('7.1')}/instances/{uid('7.1.1')}/similar?includefield=all",
    f"{BASE}/studies/{uid('7')}/metadata", f"{BASE}/studies/{uid('7')}",
    f"{BASE}/studies/{uid('7')}/series/{uid('7.1')}/instances/{uid('7.1.1')}/rendered",
    f"/preview/{uid('7.1.1')}.png", f"{BASE}/openapi.json", "/metrics", f"{BASE}/studies/{uid('99')}/metadata",
    f"{BASE}/studies?PatientID=PLANTED.7", f"{BASE}/studies?StudyDate=20210304", "/api/cases?find=PLANTED.7",
    "/api/cases?find=Plantagenet",
)  # fmt: skip


@pytest.mark.parametrize("name", HIDDEN)
def test_no_web_answer_names_anybody(archive: WebArchive, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = TestClient(archive.app, base_url="http://127.0.0.1", client=(NETWORKS[name], 1))

    answers = {path: client.get(path) for path in PATHS}

    dirty = [
        path for path, answer in answers.items() if not is_clean(answer.content + repr(answer.headers).encode(), name)
    ]
    assert dirty == []
    assert sum(answer.status_code == 200 for answer in answers.values()) >= 9
    assert answers[f"{BASE}/studies/{uid('7')}/metadata"].status_code == 403
    assert answers[f"/preview/{uid('7.1.1')}.png"].status_code == 403
    logged = [one.getMessage() for one in caplog.records if one.name.startswith(("node", "storage", "uvicorn"))]
    assert not any(secret in line for line in logged for secret in SECRETS)


def test_the_walk_finds_what_is_planted(archive: WebArchive) -> None:
    client = TestClient(archive.app, base_url="http://127.0.0.1", client=(NETWORKS["FULL"], 1))

    shown = [path for path in PATHS if not is_clean(client.get(path).content, "FULL")]

    assert len(shown) >= 8


@pytest.mark.parametrize("name", HIDDEN)
def test_the_distances_of_the_page_are_bands(archive: WebArchive, name: str) -> None:
    client = TestClient(archive.app, base_url="http://127.0.0.1", client=(NETWORKS[name], 1))

    matches = client.get(f"/api/similar/{uid('7.1.1')}?exclude=SELF").json()["matches"]

    assert [match["distance"] for match in matches] == [8, 8]
    assert {match["ranking_score"] for match in matches} == {None}


def test_images_and_answers_by_sending_are_for_full_callers_only(node: Node) -> None:
    del node
    for name in HIDDEN:
        caller = _caller(name)
        for right in ("retrieve", "ask"):
            with pytest.raises(Exception, match="names patients: FULL only"):
                caller.check(right)


def _caller(name: str) -> Any:
    from node.access.callers import Caller
    from node.options.access import Right

    return Caller(name, frozenset(Right), Disclosure(name))


@pytest.mark.parametrize(
    ("date", "year"), [("20210304", "20210101"), ("", ""), ("2021", ""), ("2021030x", ""), ("20210304-", "")]
)
def test_of_a_date_the_year_is_left(date: str, year: str) -> None:
    assert year_only(date) == year


@pytest.mark.parametrize(
    ("age", "decade"), [("069Y", "060Y"), ("101Y", "090Y"), ("003M", "000Y"), ("Plant", ""), ("", "")]
)
def test_of_an_age_the_decade_is_left(age: str, decade: str) -> None:
    assert decade_only(age) == decade


def test_an_attribute_that_nobody_called_harmless_is_left_out() -> None:
    masked = Discloser(Disclosure.MASKED, 64).attributes({"OtherPatientNames": "Plantagenet", "Modality": "Jane Doe"})

    assert masked == {"OtherPatientNames": "", "Modality": ""}

"""QIDO-RS: every path, keys that mean what they mean in C-FIND, pages, warnings, and look-alikes in rank order."""

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from node.dicom.hierarchy import UNIQUE, tag_of
from node.dicom.private import Element
from node.web.dicomweb.search_request import OWN_NAMES, private
from storage.record import Level
from tests.support.dicom.archive import identifier, uid
from tests.support.web.web_archive import WebArchive, web_archive

JSON_XML = 'multipart/related; type="application/dicom+xml"'


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebArchive]:
    with web_archive(tmp_path_factory.mktemp("web") / "home") as archive:
        yield archive


def value(data_set: dict[str, Any], tag: Any) -> Any:
    return data_set[f"{int(tag):08X}"]["Value"][0]


def places(response: Any, level: Level) -> list[str]:
    if response.status_code == 204:
        return []
    assert response.status_code == 200, response.text
    return [value(found, tag_of(UNIQUE[level])).removeprefix("2.25.") for found in response.json()]


@pytest.mark.parametrize(
    ("path", "level", "expected"),
    [
        ("/studies", Level.STUDY, ["1", "2", "3"]),
        ("/series", Level.SERIES, ["1.1", "2.1", "3.1", "3.2"]),
        ("/instances", Level.IMAGE, ["1.1.1", "1.1.2", "2.1.1", "3.1.1", "3.2.1"]),
        (f"/studies/{uid('3')}/series", Level.SERIES, ["3.1", "3.2"]),
        (f"/studies/{uid('3')}/instances", Level.IMAGE, ["3.1.1", "3.2.1"]),
        (f"/studies/{uid('1')}/series/{uid('1.1')}/instances", Level.IMAGE, ["1.1.1", "1.1.2"]),
        (f"/studies/{uid('1')}/series/{uid('3.1')}/instances", Level.IMAGE, []),
        (f"/studies/{uid('9')}/series", Level.SERIES, []),
    ],
)
def test_each_path_finds_what_lies_below_it(archive: WebArchive, path: str, level: Level, expected: list[str]) -> None:
    assert places(archive.get(path), level) == expected


def c_find(archive: WebArchive, level: Level, **keys: Any) -> list[str]:
    """Places that a C-FIND request with the same keys finds."""
    responses = archive.finder.find(
        identifier(level, keys={UNIQUE[level]: "", "SpecificCharacterSet": "ISO_IR 192", **keys}),
        implicit=True,
        is_cancelled=lambda: False,
    )
    found = [read_dataset(BytesIO(encoded or b""), True, True) for _, encoded in responses]
    return [str(each[UNIQUE[level]].value).removeprefix("2.25.") for each in found]


@pytest.mark.parametrize(
    ("path", "level", "keys"),
    [
        ("/studies", Level.STUDY, {"PatientName": "MÜLLER*"}),
        ("/studies", Level.STUDY, {"PatientID": "?"}),
        ("/studies", Level.STUDY, {"StudyDate": "20200101-20201231"}),
        ("/studies", Level.STUDY, {"StudyDate": "-20200101"}),
        ("/studies", Level.STUDY, {"AccessionNumber": '""'}),
        ("/studies", Level.STUDY, {"ModalitiesInStudy": "PT"}),
        ("/studies", Level.STUDY, {"ModalitiesInStudy": "PT,MR"}),
        ("/studies", Level.STUDY, {"StudyInstanceUID": f"{uid('1')},{uid('3')}"}),
        ("/series", Level.SERIES, {"Modality": "C*"}),
        ("/series", Level.SERIES, {"Manufacturer": "M*r"}),
        ("/instances", Level.IMAGE, {"InstanceNumber": "01"}),
        ("/instances", Level.IMAGE, {"Rows": "512", "PatientSex": "M"}),
    ],
)
def test_a_key_means_what_it_means_in_c_find(
    archive: WebArchive, path: str, level: Level, keys: dict[str, str]
) -> None:
    as_tags = {f"{int(tag_of(keyword)):08x}": text for keyword, text in keys.items()}
    lists: dict[str, Any] = {keyword: text.split(",") if "," in text else text for keyword, text in keys.items()}
    lists |= {"Rows": int(keys["Rows"])} if "Rows" in keys else {}

    expected = c_find(archive, level, **lists)

    assert places(archive.get(path, params=keys), level) == expected
    assert places(archive.get(path, params=as_tags), level) == expected


def test_pages_follow_each_other_and_say_that_there_is_more(archive: WebArchive) -> None:
    pages = [archive.get(f"/instances?limit=2&offset={offset}") for offset in (0, 2, 4, 6)]

    assert [places(page, Level.IMAGE) for page in pages] == [["1.1.1", "1.1.2"], ["2.1.1", "3.1.1"], ["3.2.1"], []]
    assert [("more results" in page.headers.get("warning", "")) for page in pages] == [True, True, False, False]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("Modality=CT", "Modality"),
        ("InstanceAvailability=ONLINE", "InstanceAvailability"),
        ("nonsense=1", "nonsense"),
        ("includefield=PixelData", "PixelData"),
        ("fuzzymatching=true", "fuzzymatching"),
        ("multiplevaluematching=true", "multiplevaluematching"),
        ("%3Cscript%3E=1", "a parameter"),
    ],
)
def test_what_cannot_be_honoured_is_named_or_refused(archive: WebArchive, query: str, named: str) -> None:
    lenient, strict = archive.get(f"/studies?{query}"), archive.get(f"/studies?{query}&strict=true")

    assert lenient.status_code == 200
    assert lenient.headers["warning"].startswith("299 http://127.0.0.1/dicom-web: ")
    assert named in lenient.headers["warning"]
    assert (strict.status_code, strict.headers["content-type"]) == (400, "application/problem+json")
    assert named in strict.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=x", "limit=-1", "limit=1&limit=2", "offset=1e3", "strict=perhaps", "PatientID=1&PatientID=2", "Rows=x",
        "similarto=1.2&exclude=NOBODY", "maxdistance=3", "similarto=1.2&SeriesInstanceUID=1&limit=501",
        "similarto=1.2&exampleseriesinstanceuid=1", "00081115=1", "PatientName=" + 2000 * "*x",
    ],
)  # fmt: skip
def test_a_parameter_that_makes_no_sense_is_refused(archive: WebArchive, query: str) -> None:
    assert archive.get(f"/studies?{query}").status_code == 400


def test_a_uid_in_the_path_is_not_contradicted(archive: WebArchive) -> None:
    path = f"/studies/{uid('1')}/series?StudyInstanceUID="

    assert archive.get(path + uid("1")).status_code == 200
    assert archive.get(path + uid("3")).status_code == 400
    assert archive.get("/studies/..%2f..%2fetc/series").status_code in (400, 404)


def test_look_alikes_come_in_the_order_and_with_the_elements_of_c_find(archive: WebArchive) -> None:
    by_parameter = archive.get(f"/instances?similarto={uid('1.1.1')}&limit=3&exclude=SELF,SERIES")
    by_tag = archive.get(f"/instances?00751001={uid('1.1.1')}&00751006=3&00751009=SELF,SERIES")
    below = archive.get(
        f"/studies/{uid('1')}/series/{uid('1.1')}/instances/{uid('1.1.1')}/similar?level=instance&limit=3&exclude=SERIES"
    )

    found = by_parameter.json()
    assert places(by_parameter, Level.IMAGE) == ["2.1.1", "3.1.1", "3.2.1"]
    assert by_parameter.content == by_tag.content
    assert places(below, Level.IMAGE) == ["2.1.1", "3.1.1", "3.2.1"]
    assert [value(each, private(Element.SIMILARITY_RANK)) for each in found] == [1, 2, 3]
    assert [value(each, private(Element.HAMMING_DISTANCE)) for each in found] == [2, 3, 4]
    assert found[0]["00750010"]["Value"] == ["LOOKALIKE SIMILARITY 1.0"]


def test_keys_and_offsets_narrow_look_alikes(archive: WebArchive) -> None:
    asked = {"similarto": uid("1.1.1")}

    assert places(archive.get("/studies", params=asked | {"Modality": "CT"}), Level.STUDY) == ["3"]
    assert places(archive.get("/studies", params=asked | {"offset": 1}), Level.STUDY) == ["3"]
    assert places(archive.get("/studies", params=asked | {"maxdistance": 2}), Level.STUDY) == ["2"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"similarto={uid('9')}", 404),
        (f"similarto={uid('1.1.1')}&model=another", 422),
        (f"similarto={uid('1.1.1')}&snapshot=gone", 410),
        (f"similarto={uid('1.1.1')}&frame=7", 422),
    ],
)
def test_an_example_that_cannot_be_used_is_explained(archive: WebArchive, query: str, status: int) -> None:
    answer = archive.get(f"/studies?{query}")

    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["dimse_status"].startswith("C10")


def test_results_are_data_sets_with_the_attributes_of_their_level(archive: WebArchive) -> None:
    study = Dataset.from_json(archive.get("/studies?limit=1&includefield=StudyDescription,00081080").json()[0])
    within = archive.get(f"/studies/{uid('3')}/series").json()[0]

    assert (study.PatientName, study.NumberOfStudyRelatedInstances, study.ModalitiesInStudy) == ("Doe^Jane", 2, "CT")
    assert study.RetrieveURL == f"http://127.0.0.1/dicom-web/studies/{uid('1')}"
    assert "StudyDescription" in study
    assert "00100010" not in within
    assert value(within, tag_of("RetrieveURL")).endswith(f"/studies/{uid('3')}/series/{uid('3.1')}")


def test_a_search_can_be_answered_in_xml(archive: WebArchive) -> None:
    answer = archive.get("/studies?PatientID=B", headers={"Accept": JSON_XML})

    assert answer.headers["content-type"].startswith(JSON_XML)
    assert "<FamilyName>Müller</FamilyName>" in answer.text
    assert answer.text.count("<NativeDicomModel") == 1
    assert archive.get("/studies", headers={"Accept": "text/html"}).status_code == 406
    assert archive.get("/studies", headers={"Accept": "text/html, */*;q=0.1"}).status_code == 200


NAMES = st.sampled_from([*sorted(OWN_NAMES), "PatientName", "Rows", "PixelData", "0020000D", "FFFEE00D", "00751044"])


@given(st.lists(st.tuples(st.one_of(NAMES, st.text(max_size=12)), st.text(max_size=40)), max_size=4))
@settings(max_examples=60, deadline=None)
def test_no_parameter_makes_the_node_fail(archive: WebArchive, parameters: list[tuple[str, str]]) -> None:
    encodable = [tuple(part.encode("utf-8", "ignore").decode() for part in pair) for pair in parameters]

    answer = archive.get("/instances", params=encodable)

    assert answer.status_code < 500, (parameters, answer.text)

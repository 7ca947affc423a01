"""Query by example at the PATIENT level: similar patients, ranked, each scored by the nearest of all its images."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID

from node.dicom.private import SIMILARITY_FIND, Element
from node.errors import Status
from tests.support.dicom.answering import SYNTAXES, Node, PatientRoot, StudyRoot, answering_node, ours
from tests.support.dicom.archive import identifier, instance, uid

CT, MR = {"Modality": "CT"}, {"Modality": "MR"}
IMAGES = {
    "1.1.1": ("A", 0, CT),
    "2.1.1": ("A", 9, CT),
    "3.1.1": ("B", 3, CT),
    "4.1.1": ("B", 1, MR),
    "5.1.1": ("C", 2, CT),
    "5.1.2": ("C", 12, CT),
    "6.1.1": ("", 2, CT),
    "7.1.1": ("A2", 5, CT),
}
ITEMS = [
    instance(place, rung, attributes=more, PatientID=patient, StudyDate="20200101" if rung < 9 else "20210101")
    for place, (patient, rung, more) in IMAGES.items()
]
RETURNED = {
    Element.SIMILARITY_RANK: "", Element.HAMMING_DISTANCE: "", Element.BEST_MATCH_SOP_INSTANCE_UID: "",
    Element.BEST_MATCH_SERIES_INSTANCE_UID: "",
}  # fmt: skip


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), ITEMS) as node:
        yield node


def asked(
    node: Node,
    example: str = "1.1.1",
    syntax: UID = SYNTAXES[0],
    more: Mapping[Element, str] | None = None,
    keys: Mapping[str, str] | None = None,
) -> list[tuple[str, int, int, str]]:
    """Patient ID, rank, distance and place of the nearest image of each answer."""
    private = {Element.EXAMPLE_SOP_INSTANCE_UID: uid(example), **RETURNED, **(more or {})}
    found = node.found(identifier("PATIENT", private, {"PatientID": "", **(keys or {})}), PatientRoot, syntax)
    answers = [(one.PatientID, ours(one)) for one in found]
    return [
        (
            patient,
            int(similarity[Element.SIMILARITY_RANK]),
            int(similarity[Element.HAMMING_DISTANCE]),
            similarity[Element.BEST_MATCH_SOP_INSTANCE_UID].removeprefix("2.25."),
        )
        for patient, similarity in answers
    ]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_patients_come_in_rank_order_each_by_the_nearest_of_its_images(node: Node, syntax: UID) -> None:
    found = asked(node, syntax=syntax)

    assert found == [
        ("B", 1, 1, "4.1.1"),
        ("C", 2, 2, "5.1.1"),
        ("", 2, 2, "6.1.1"),
        ("A2", 4, 5, "7.1.1"),
    ]


def test_the_patient_of_the_example_is_found_only_if_nothing_is_excluded_that_holds_it(node: Node) -> None:
    by_study = {Element.EXCLUDE: "STUDY"}

    assert ("A", 4, 9, "2.1.1") not in asked(node)
    assert asked(node, more=by_study)[-1] == ("A", 5, 9, "2.1.1")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"Modality": "CT"}, ["C", "", "B", "A2"]),
        ({"StudyDate": "20210101"}, []),
        ({"PatientID": "B\\A2"}, ["B", "", "A2"]),
        ({"PatientID": "Z"}, [""]),  # an empty stored value matches anything
    ],
)
def test_keys_of_every_level_filter_before_the_nearest_patients_are_chosen(
    node: Node, keys: dict[str, str], expected: list[str]
) -> None:
    assert [patient for patient, *_ in asked(node, keys=keys)] == expected


def test_as_many_patients_come_as_are_asked_for(node: Node) -> None:
    assert [patient for patient, *_ in asked(node, more={Element.MAXIMUM_MATCHES: "2"})] == ["B", "C"]
    assert [patient for patient, *_ in asked(node, more={Element.MAXIMUM_DISTANCE: "2"})] == ["B", "C", ""]


def test_the_mean_is_over_all_images_of_a_patient(node: Node) -> None:
    found = asked(node, more={Element.AGGREGATION: "MEAN"})

    assert [(patient, distance) for patient, _, distance, _ in found] == [("B", 2), ("", 2), ("A2", 5), ("C", 7)]


def test_keys_below_the_patient_come_from_the_nearest_image(node: Node) -> None:
    private = {Element.EXAMPLE_SOP_INSTANCE_UID: uid("1.1.1"), Element.MAXIMUM_MATCHES: "1"}
    request = identifier("PATIENT", private, PatientID="", StudyInstanceUID="", Modality="")

    [response] = node.found(request, PatientRoot)

    assert (response.PatientID, response.StudyInstanceUID, response.Modality) == ("B", uid("4"), "MR")


@pytest.mark.parametrize("model", [StudyRoot, SIMILARITY_FIND])
def test_a_model_without_patients_refuses_their_level(node: Node, model: UID) -> None:
    [status], _ = node.ask(identifier("PATIENT", {Element.EXAMPLE_SOP_INSTANCE_UID: uid("1.1.1")}), model)

    assert status.Status == Status.DATA_SET_MISMATCH


@settings(max_examples=20, deadline=None)
@given(example=st.sampled_from(sorted(IMAGES)), k=st.integers(1, 5), modality=st.sampled_from(["", "CT", "MR"]))
def test_they_are_those_that_a_walk_over_all_images_finds(node: Node, example: str, k: int, modality: str) -> None:
    own, rung, _ = IMAGES[example]
    owner = {place: patient or place for place, (patient, _, _) in IMAGES.items()}
    nearest: dict[str, int] = {}
    for place, (_, other, more) in IMAGES.items():
        if owner[place] != (own or example) and modality in ("", more["Modality"]):
            distance = abs(other - rung)
            nearest[owner[place]] = min(distance, nearest.get(owner[place], distance))

    found = asked(node, example, more={Element.MAXIMUM_MATCHES: str(k)}, keys={"Modality": modality})

    assert [distance for _, _, distance, _ in found] == sorted(nearest.values())[:k]
    assert all(nearest[patient or place] == distance for patient, _, distance, place in found)

"""What is read from the private elements: defaults, and a refusal that names the element where nothing can be meant."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import config as pydicom_config
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from hashing.ranking_scores import Ranking
from node.dicom.private import GROUP, Element, PrivateBlock
from node.errors import COMMENT_LENGTH, Refusal, Status
from node.query.question import MAX_EXAMPLES, MAX_MATCHES, Distinct, Exclusion, Question, read_question
from storage.record import Level
from storage.search.index import Aggregation
from tests.support.dicom.archive import identifier

IMAGE, SERIES, STUDY = (
    Element.EXAMPLE_SOP_INSTANCE_UID,
    Element.EXAMPLE_SERIES_INSTANCE_UID,
    Element.EXAMPLE_STUDY_INSTANCE_UID,
)
Ours = Mapping[Element, str | list[str]]
EVERY_KEY: Ours = {
    IMAGE: "1.2.3",
    Element.EXAMPLE_FRAME_NUMBER: "5",
    Element.EXAMPLE_REGION: ["1", "+2", "30", "40"],
    Element.MAXIMUM_MATCHES: "+7",
    Element.MAXIMUM_DISTANCE: "0",
    Element.MODEL_IDENTIFIER: "model",
    Element.EXCLUDE: ["STUDY", "DUPLICATE"],
    Element.AGGREGATION: "MEAN",
    Element.INDEX_SNAPSHOT: "state",
    Element.RANKING: "HAMMING",
    Element.DISTINCT: "PATIENT",
}


@pytest.fixture(autouse=True)
def _lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are judged by the node, not by pydicom."""
    monkeypatch.setattr(pydicom_config.settings, "reading_validation_mode", pydicom_config.IGNORE)


def refused(dataset: Dataset) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read_question(PrivateBlock(dataset))
    return caught.value


@pytest.mark.parametrize("kind", [IMAGE, SERIES, STUDY])
def test_an_example_alone_is_asked_about_with_the_defaults(kind: Element) -> None:
    question = read_question(PrivateBlock(identifier("STUDY", {kind: "1.2.3"})))

    level = {IMAGE: Level.IMAGE, SERIES: Level.SERIES, STUDY: Level.STUDY}[kind]
    assert question == Question(examples=("1.2.3",), example_level=level)
    assert (question.maximum_matches, question.maximum_distance) == (20, None)
    assert (question.exclusions, question.aggregation) == (frozenset({Exclusion.SELF}), Aggregation.BEST)


def test_every_key_is_read() -> None:
    question = read_question(PrivateBlock(identifier("SERIES", EVERY_KEY, block=0x33)))

    assert question == Question(
        examples=("1.2.3",),
        frames=(5,),
        region=(1, 2, 30, 40),
        maximum_matches=7,
        maximum_distance=0,
        exclusions=frozenset({Exclusion.STUDY, Exclusion.DUPLICATE}),
        aggregation=Aggregation.MEAN,
        model="model",
        snapshot="state",
        ranking=Ranking.HAMMING,
        distinct=Distinct.PATIENT,
        block=0x33,
    )


@pytest.mark.parametrize(
    "ours",
    [{}, {IMAGE: ""}, {STUDY: "", Element.MAXIMUM_MATCHES: ""}, {Element.SIMILARITY_RANK: "", Element.COVERAGE: ""}],
)
def test_without_example_it_is_an_ordinary_query(ours: Ours) -> None:
    assert read_question(PrivateBlock(identifier("STUDY", ours))) is None


@pytest.mark.parametrize(
    ("ours", "offending"),
    [
        ({IMAGE: "1.2", SERIES: "1.3"}, SERIES),
        ({IMAGE: "1.2", STUDY: "1.3"}, STUDY),
        ({SERIES: "1.2", STUDY: "1.3"}, STUDY),
        ({SERIES: ["1.2", "1.3"]}, SERIES),
        ({STUDY: ["1.2", "1.3"]}, STUDY),
        ({IMAGE: [f"1.{n}" for n in range(1, MAX_EXAMPLES + 2)]}, IMAGE),
        ({IMAGE: "1.2", Element.EXAMPLE_REGION: ["1", "1", "9"]}, Element.EXAMPLE_REGION),
        ({SERIES: "1.2", Element.EXAMPLE_REGION: ["1", "1", "9", "9"]}, Element.EXAMPLE_REGION),
        ({IMAGE: ["1.2", "1.3"], Element.EXAMPLE_REGION: ["1", "1", "9", "9"]}, Element.EXAMPLE_REGION),
        ({SERIES: "1.2", Element.EXAMPLE_FRAME_NUMBER: "1"}, Element.EXAMPLE_FRAME_NUMBER),
        ({IMAGE: ["1.2", "1.3"], Element.EXAMPLE_FRAME_NUMBER: "1"}, Element.EXAMPLE_FRAME_NUMBER),
        ({IMAGE: "1.2", Element.EXAMPLE_FRAME_NUMBER: ["1", "0"]}, Element.EXAMPLE_FRAME_NUMBER),
        ({IMAGE: "1.2", Element.MAXIMUM_MATCHES: "0"}, Element.MAXIMUM_MATCHES),
        ({IMAGE: "1.2", Element.MAXIMUM_MATCHES: "-1"}, Element.MAXIMUM_MATCHES),
        ({IMAGE: "1.2", Element.MAXIMUM_MATCHES: str(MAX_MATCHES + 1)}, Element.MAXIMUM_MATCHES),
        ({IMAGE: "1.2", Element.MAXIMUM_MATCHES: ["1", "2"]}, Element.MAXIMUM_MATCHES),
        ({IMAGE: "1.2", Element.MAXIMUM_DISTANCE: "-1"}, Element.MAXIMUM_DISTANCE),
        ({IMAGE: "1.2", Element.EXCLUDE: "self"}, Element.EXCLUDE),
        ({IMAGE: "1.2", Element.EXCLUDE: ["SELF", "HOSPITAL"]}, Element.EXCLUDE),
        ({IMAGE: "1.2", Element.AGGREGATION: "MEDIAN"}, Element.AGGREGATION),
        ({IMAGE: "1.2", Element.AGGREGATION: ["BEST", "MEAN"]}, Element.AGGREGATION),
        ({IMAGE: "1.2", Element.DISTINCT: "IMAGE"}, Element.DISTINCT),
        ({IMAGE: "1.2", Element.DISTINCT: ["SERIES", "STUDY"]}, Element.DISTINCT),
        ({IMAGE: "1.2", Element.RANKING: "asymmetric"}, Element.RANKING),
        ({IMAGE: "1.2", Element.RANKING: "EUCLIDEAN"}, Element.RANKING),
        ({IMAGE: "1.2", Element.RANKING: ["HAMMING", "ASYMMETRIC"]}, Element.RANKING),
        ({IMAGE: "1.2", Element.RANKING: "ASYMMETRIC", Element.AGGREGATION: "MEAN"}, Element.RANKING),
        ({IMAGE: "1.2", Element.RANKING: "CLASSES", Element.AGGREGATION: "MEAN"}, Element.RANKING),
        ({Element.RANKING: "ASYMMETRIC"}, Element.RANKING),
        ({Element.MAXIMUM_MATCHES: "5"}, Element.MAXIMUM_MATCHES),
        ({Element.MAXIMUM_DISTANCE: "5"}, Element.MAXIMUM_DISTANCE),
        ({Element.EXCLUDE: "STUDY"}, Element.EXCLUDE),
        ({Element.AGGREGATION: "MEAN"}, Element.AGGREGATION),
        ({Element.EXAMPLE_FRAME_NUMBER: "1"}, Element.EXAMPLE_FRAME_NUMBER),
        ({Element.EXAMPLE_REGION: ["1", "1", "9", "9"]}, Element.EXAMPLE_REGION),
    ],
)
@pytest.mark.parametrize("block", [0x10, 0xFE])
def test_what_cannot_be_meant_is_refused_and_the_element_named(ours: Ours, offending: Element, block: int) -> None:
    refusal = refused(identifier("STUDY", ours, block=block))

    assert refusal.status == Status.DATA_SET_MISMATCH
    assert refusal.offending == Tag(GROUP, block << 8 | offending)
    assert str(refusal) == refusal.comment, "no comment is cut off"


def is_number(text: str) -> bool:
    """Whether a text is no value at all, or one whole number beside empty values and padding."""
    values = [value for part in text.split("\\") if (value := part.strip("\0 "))]
    try:
        return not values or (len(values) == 1 and int(values[0]) > 0)
    except ValueError:
        return False


@given(text=st.text(st.characters(codec="latin-1"), min_size=1, max_size=14).filter(lambda text: not is_number(text)))
def test_a_number_that_is_none_is_refused_and_nothing_else_is_raised(text: str) -> None:
    dataset = identifier("STUDY", {IMAGE: "1.2"})
    dataset.add(DataElement(Tag(GROUP, 0x1006), "LO", text))

    refusal = refused(dataset)

    assert refusal.offending == Tag(GROUP, 0x1006)
    assert len(refusal.comment) <= COMMENT_LENGTH


@pytest.mark.parametrize(("asked", "read"), [("1", 1), (str(MAX_MATCHES), MAX_MATCHES), (" 8 ", 8)])
def test_as_many_as_the_ceiling_may_be_asked_for(asked: str, read: int) -> None:
    question = read_question(PrivateBlock(identifier("STUDY", {IMAGE: "1.2", Element.MAXIMUM_MATCHES: asked})))

    assert question is not None
    assert question.maximum_matches == read


def test_as_many_examples_as_one_association_may_send_are_taken() -> None:
    examples = [f"1.{n}" for n in range(1, MAX_EXAMPLES + 1)]

    question = read_question(PrivateBlock(identifier("STUDY", {IMAGE: examples})))

    assert question is not None
    assert question.examples == tuple(examples)

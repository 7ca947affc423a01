"""The second ranking stage as a caller asks for it, against a plain twin."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom.dsutils import encode
from rich.console import Console

from hashing.codes import hamming_distance, pack, unpack
from hashing.ranking_scores import Ranking, in_eight_bits, in_whole_numbers, shortlist_length
from node.cli.similar import Asking, AskingError, ask_node, ranked_table
from node.dicom.client import Peer
from node.dicom.private import GROUP, Element
from node.errors import Status
from node.query.question import Question
from node.query.retriever import Retriever
from storage.database.database import Database, Item
from storage.record import Level
from storage.search.index import Filter
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.answering import SYNTAXES, Node, answering_node, ours
from tests.support.dicom.archive import identifier, instance, uid

K = 30
EXAMPLE = "1.1.1"
STAGES = (Ranking.ASYMMETRIC, Ranking.OUTPUTS, Ranking.CLASSES)


def alike(n: int, seed: int) -> list[Item]:
    """Images of as many studies, of which each differs from the first in few bits: many are equally far.

    Of each four, three have the same class scores: many agree equally.
    """
    generator = np.random.default_rng(seed)
    relaxed = in_whole_numbers(generator.normal(size=(n, 64)))
    bits = (relaxed[:1] >= 0) ^ (generator.random((n, 64)) < 0.06)
    bits[0] = relaxed[0] >= 0
    codes, scores = pack(bits), in_eight_bits(generator.dirichlet(np.full(6, 0.4), n))
    scores = scores[np.where(np.arange(n) % 4, 0, np.arange(n))]
    items = [instance(f"{number}.1.1", 0, PatientID=str(number)) for number in range(1, n + 1)]
    return [
        replace(item, codes=codes[i : i + 1], outputs=relaxed[i : i + 1], class_scores=scores[i : i + 1])
        for i, item in enumerate(items)
    ]


def twin(items: Sequence[Item], k: int, stage: Ranking = Ranking.ASYMMETRIC) -> list[tuple[int, float, int, str]]:
    """Rank, score, distance and UID of the best of the nearest by what the first item is sure of, or by its classes."""
    example, *others = items
    scored = []
    for other in others:
        distance = int(hamming_distance(example.codes[0], other.codes)[0])
        sure, classes = round(surely(example, other), 9), round(overlap(example, other), 9)
        near = round(likeness(example, other), 9)
        keys = dict(zip(Ranking, ((-distance, sure), (sure, sure), (near, sure), (classes, sure)), strict=True))[stage]
        scored.append((*keys, distance, other.record.study_instance_uid))
    nearest = sorted(scored, key=lambda one: (one[2], -one[1], one[3]))
    nearest = nearest if stage == Ranking.HAMMING else nearest[: shortlist_length(k)]
    best = sorted(nearest, key=lambda one: (-one[0], -one[1], *one[2:]))[:k]
    ranks = [1 + next(number for number, first in enumerate(best) if first[:3] == one[:3]) for one in best]
    return [(rank, one[0], *one[2:]) for rank, one in zip(ranks, best, strict=True)]


def surely(example: Item, other: Item) -> float:
    """Share of what the example is sure of that another agrees with."""
    assert example.outputs is not None
    query, bits = example.outputs[0].tolist(), unpack(other.codes, 64)[0].tolist()
    return float(sum(abs(q) for q, bit in zip(query, bits, strict=True) if (q >= 0) == bit) / sum(map(abs, query)))


def overlap(example: Item, other: Item) -> float:
    """Cosine of two images' class scores as they are kept."""
    assert example.class_scores is not None
    assert other.class_scores is not None
    return cosine(example.class_scores[0].tolist(), other.class_scores[0].tolist())


def likeness(example: Item, other: Item) -> float:
    """Cosine of two images' outputs as they are kept, in the range of a score."""
    assert example.outputs is not None
    assert other.outputs is not None
    return (1 + cosine(example.outputs[0].tolist(), other.outputs[0].tolist())) / 2


def cosine(p: list[int], q: list[int]) -> float:
    dot, *squares = (sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((p, q), (p, p), (q, q)))
    return float(dot / math.sqrt(squares[0] * squares[1]))


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return alike(300, seed=0)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, items: list[Item]) -> Iterator[Node]:
    with answering_node(tmp_path_factory.mktemp("node"), items) as node:
        yield node


def asked(ranking: str, **more: str) -> dict[Element, str | list[str]]:
    returned = (Element.SIMILARITY_RANK, Element.SIMILARITY_SCORE, Element.RANKING_SCORE, Element.HAMMING_DISTANCE)
    return {
        Element.EXAMPLE_SOP_INSTANCE_UID: uid(EXAMPLE),
        Element.MAXIMUM_MATCHES: str(K),
        Element.RANKING: ranking,
        **dict.fromkeys(returned, ""),
        **{Element[name]: value for name, value in more.items()},
    }


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_the_nearest_come_in_the_order_of_the_second_stage_with_its_scores(
    node: Node, items: list[Item], syntax: UID, stage: Ranking
) -> None:
    found = node.found(identifier("STUDY", asked(stage), StudyInstanceUID=""), syntax=syntax)

    expected = twin(items, K, stage)
    answered = [ours(response) for response in found]
    assert [response.StudyInstanceUID for response in found] == [study for *_, study in expected]
    assert [one[Element.SIMILARITY_RANK] for one in answered] == [str(rank) for rank, *_ in expected]
    assert [one[Element.HAMMING_DISTANCE] for one in answered] == [str(distance) for *_, distance, _ in expected]
    assert [float(one[Element.SIMILARITY_SCORE]) for one in answered] == [
        round(1 - distance / 64, 6) for *_, distance, _ in expected
    ]
    assert [float(one[Element.RANKING_SCORE]) for one in answered] == [round(score, 6) for _, score, _, _ in expected]
    assert {one[Element.RANKING] for one in answered} == {stage}


def test_of_equal_distances_the_nearest_to_what_the_query_is_sure_of_come_first(node: Node, items: list[Item]) -> None:
    found = node.found(identifier("STUDY", asked("HAMMING"), StudyInstanceUID=""))

    expected = twin(items, K, Ranking.HAMMING)
    distances = [distance for *_, distance, _ in expected]
    assert [int(ours(one)[Element.HAMMING_DISTANCE]) for one in found] == distances
    assert [one.StudyInstanceUID for one in found] == [study for *_, study in expected]
    assert [int(ours(one)[Element.SIMILARITY_RANK]) for one in found] == [rank for rank, *_ in expected]


def test_equal_distances_of_an_example_of_which_no_outputs_were_kept_are_shown_as_ties(tmp_path: Path) -> None:
    items = [replace(item, outputs=None, class_scores=None) for item in alike(60, seed=5)]
    question = Question((uid(EXAMPLE),))
    with Database.create_or_open(tmp_path / "database", 64, "model", 1 << 24) as database:
        database.append(items)
        with database.snapshot() as snapshot:
            answering = Retriever(Spool(tmp_path / "spool", 9, 0), LocalIndex(database).view, "model")
            found = answering.similar(snapshot, question, Level.STUDY, Filter())

    keys = [(match.distance, match.entity.uid) for match in found.matches]
    assert keys == sorted(keys)
    for match in found.matches:
        assert match.rank == 1 + sum(other.distance < match.distance for other in found.matches)


def test_the_same_question_gives_the_same_bytes_and_without_ranking_the_order_of_distance(node: Node) -> None:
    request = identifier("STUDY", asked("ASYMMETRIC"), StudyInstanceUID="")

    first, again = (
        [encode(one, is_implicit_vr=True, is_little_endian=True) for one in node.found(request)] for _ in range(2)
    )
    plain = [ours(response) for response in node.found(identifier("STUDY", asked(""), StudyInstanceUID=""))]

    distances = [int(one[Element.HAMMING_DISTANCE]) for one in plain]
    assert first == again
    assert distances == sorted(distances)
    assert {one[Element.RANKING] for one in plain} == {"HAMMING"}
    assert {one[Element.RANKING_SCORE] for one in plain} == {""}


def test_a_node_may_be_set_to_the_second_stage_and_a_question_asks_for_the_first(
    node: Node, items: list[Item], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node.finder.retriever, "ranking", Ranking.ASYMMETRIC)

    by_default, by_key, by_mean = (
        [ours(response) for response in node.found(identifier("STUDY", keys, StudyInstanceUID=""))]
        for keys in (asked(""), asked("HAMMING"), asked("", AGGREGATION="MEAN"))
    )

    assert [int(one[Element.HAMMING_DISTANCE]) for one in by_default] == [
        distance for *_, distance, _ in twin(items, K)
    ]
    assert {one[Element.RANKING] for one in by_default} == {"ASYMMETRIC"}
    assert {one[Element.RANKING] for one in by_key + by_mean} == {"HAMMING"}


@pytest.mark.parametrize(
    ("keys", "comment"),
    [
        (asked("EUCLIDEAN"), "ranking takes HAMMING, ASYMMETRIC, OUTPUTS, CLASSES"),
        (asked("ASYMMETRIC", AGGREGATION="MEAN"), "ranking ASYMMETRIC goes by the BEST image, not by MEAN"),
        (asked("CLASSES", AGGREGATION="LATE"), "ranking CLASSES goes by the BEST image, not by LATE"),
    ],
)
def test_a_ranking_that_cannot_be_is_refused_with_its_element_and_what_can(
    node: Node, keys: dict[Element, str | list[str]], comment: str
) -> None:
    [refused], found = node.ask(identifier("STUDY", keys))

    assert (refused.Status, refused.OffendingElement) == (Status.DATA_SET_MISMATCH, GROUP << 16 | 0x100C)
    assert (refused.ErrorComment, found) == (comment, [])


def test_the_command_asks_a_node_for_the_second_stage_and_shows_its_score(node: Node, items: list[Item]) -> None:
    peer = Peer(node.settings.ae_title, node.settings.host, node.settings.port)
    asking = Asking.of(uid(EXAMPLE), 5, "study", "", other_patients=False, ranking="classes")
    plainly = Asking.of(uid(EXAMPLE), 5, "study", "", other_patients=False)

    cases = ask_node(peer, asking)
    plain = ask_node(peer, plainly)

    assert [case.uid for case in cases] == [study for *_, study in twin(items, 5, Ranking.CLASSES)]
    assert f"{float(cases[0].ranking_score):.3f}" in printed(ranked_table(cases, asking))
    assert "ranking" not in printed(ranked_table(plain, plainly))
    with pytest.raises(AskingError, match="HAMMING, ASYMMETRIC, OUTPUTS, CLASSES"):
        Asking.of(uid(EXAMPLE), 5, "study", "", other_patients=False, ranking="best")


def printed(table: object) -> str:
    console = Console(width=200, file=StringIO())
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


@given(
    n=st.integers(2, 200), k=st.sampled_from([1, 3, 40]), seed=st.integers(0, 2**32 - 1), stage=st.sampled_from(Ranking)
)
@settings(deadline=None, max_examples=40)
def test_every_ranking_orders_what_its_twin_orders_each_time(
    tmp_path_factory: pytest.TempPathFactory, n: int, k: int, seed: int, stage: Ranking
) -> None:
    items, folder = alike(n, seed), tmp_path_factory.mktemp("database")
    question = Question((uid(EXAMPLE),), maximum_matches=k, ranking=stage)
    with Database.create_or_open(folder / "database", 64, "model", 1 << 24) as database:
        database.append(items)
        answering = Retriever(Spool(folder / "spool", 9, 0), LocalIndex(database).view, "model")
        with database.snapshot() as snapshot:
            answers = [answering.similar(snapshot, question, Level.STUDY, Filter()) for _ in range(2)]

    told = [(match.rank, match.ranking_score, match.distance, match.entity.uid) for match in answers[0].matches]
    expected: list[object] = [
        (rank, None if stage == Ranking.HAMMING else pytest.approx(score), *rest)
        for rank, score, *rest in twin(items, k, stage)
    ]
    assert answers[0] == answers[1]
    assert told == expected


@pytest.mark.parametrize("stage", STAGES)
def test_frames_are_ranked_by_their_own_outputs(tmp_path: Path, stage: Ranking) -> None:
    base = alike(40, seed=3)
    example = instance(EXAMPLE, 0, 0, PatientID="1")
    codes, outputs, class_scores = (
        np.concatenate([getattr(base[i], name) for i in (1, 0)]) for name in ("codes", "outputs", "class_scores")
    )
    two = replace(example, codes=codes, outputs=outputs, class_scores=class_scores)
    question = Question((uid(EXAMPLE),), frames=(2,), maximum_matches=5, ranking=stage)
    with Database.create_or_open(tmp_path / "database", 64, "model", 1 << 24) as database:
        database.append([two, *base[1:]])
        answering = Retriever(Spool(tmp_path / "spool", 9, 0), LocalIndex(database).view, "model")
        with database.snapshot() as snapshot:
            answer = answering.similar(snapshot, question, Level.STUDY, Filter())

    assert [match.entity.uid for match in answer.matches] == [study for *_, study in twin(base, 5, stage)]

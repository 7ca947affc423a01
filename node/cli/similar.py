"""Asking for look-alikes from the command line: of a database here, or of a node over C-FIND."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from rich.table import Table
from rich.text import Text

from hashing.images.attributes import code_string, read
from hashing.images.pixels import PixelError, network_inputs
from hashing.model.model_file import DEFAULT_MODEL
from hashing.ranking_scores import Ranking
from node.cli.terminal import plain
from node.dicom.client import Peer
from node.dicom.private import Element, PrivateBlock, add_block
from node.errors import NodeError
from node.home import open_for_reading
from node.ingest.preparation import text
from node.query import catalog
from node.query.answers import chance_expectation
from node.query.matching import read_keys
from node.query.question import Distinct, Exclusion, Question
from node.query.retriever import LookAlikes, Match, Retriever
from node.settings import Settings
from storage.database.snapshot import Snapshot
from storage.record import Level, patient_key
from storage.search.index import Filter

if TYPE_CHECKING:
    from hashing.model.encoder import Encoding

SHOWN = (
    "Modality", "BodyPartExamined", "StudyDate", "PatientSex", "PatientAge", "StudyDescription", "SeriesDescription",
)  # fmt: skip
UID_FORM = re.compile(r"[0-9.]+")
WARNING = "Look-alikes are other patients' images: never this examination's findings."
NO_CLOSER = "By chance: so many images would lie as near; from 1 on a case is no closer than chance."


class AskingError(NodeError):
    """The example cannot be used."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What the user asks: an example, given as a file or by its UID, and limits."""

    sop_instance_uid: str
    file: Dataset | None
    level: Level
    modality: str
    question: Question

    @classmethod
    def of(
        cls,
        example: str,
        k: int,
        level: str,
        modality: str,
        *,
        other_patients: bool,
        ranking: str = "",
        distinct: str = "NONE",
    ) -> "Asking":
        """Read the arguments of the command.

        Raises
        ------
        AskingError
            An unknown level, ranking or kind of entity, or a file that is no DICOM file.
        """
        if level.upper() not in (Level.IMAGE, Level.SERIES, Level.STUDY):
            raise AskingError(f"level {level!r} is not IMAGE, SERIES or STUDY")
        if ranking.upper() not in {"", *Ranking}:
            raise AskingError(f"ranking {ranking!r} is not one of {', '.join(Ranking)}")
        if distinct.upper() not in set(Distinct):
            raise AskingError(f"distinct {distinct!r} is not one of {', '.join(Distinct)}")
        file = _read(Path(example)) if not UID_FORM.fullmatch(example) or Path(example).exists() else None
        uid = str(file.get("SOPInstanceUID", "")) if file is not None else example
        exclusions = frozenset({Exclusion.SELF, Exclusion.PATIENT} if other_patients else {Exclusion.SELF})
        stage = Ranking(ranking.upper()) if ranking else None
        question = Question(
            (uid,), maximum_matches=k, exclusions=exclusions, ranking=stage, distinct=Distinct(distinct.upper())
        )
        return cls(uid, file, Level(level.upper()), modality, question)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the answer.

    Attributes
    ----------
    ranking_score
        That of the second stage; "" without one.
    chance
        Number of images that chance would put as near; "" if it is not known.
    duplicates
        Number of near-duplicates folded into the case; "" if every image is a case.
    """

    rank: str
    distance: str
    score: str
    ranking_score: str
    values: dict[str, str]
    uid: str
    chance: str = ""
    duplicates: str = ""

    @property
    def is_chance(self) -> bool:
        """True if chance would put an image as near."""
        return bool(self.chance) and float(self.chance) >= 1


def ask_database(settings: Settings, asking: Asking) -> list[Case]:
    """Cases from the database of a home folder; a file that is not indexed there is encoded here.

    Raises
    ------
    AskingError
        The file has no usable pixels, or belongs to nothing.
    """
    reading = open_for_reading(settings)
    keys = read_keys({"Modality": asking.modality})
    with reading.database, reading.database.snapshot() as snapshot:
        where = catalog.restrict(snapshot, keys)
        answer = _answer(settings, asking, reading.retriever, snapshot, where)
        expected = chance_expectation(reading.database.path, snapshot, answer.modality, answer.pairs, where.modalities)
        return [_local_case(snapshot, match, expected(match.distance)) for match in answer.matches]


def _answer(settings: Settings, asking: Asking, retriever: Retriever, snapshot: Snapshot, where: Filter) -> LookAlikes:
    if asking.file is None or snapshot.ordinal(Level.IMAGE, asking.sop_instance_uid) is not None:
        return retriever.similar(snapshot, asking.question, asking.level, where)
    modality = code_string(read(asking.file, "Modality"))
    encoding = _encode(settings, asking.file, modality)
    where = _without_own_patient(snapshot, asking, where)
    question, outputs = asking.question, encoding.outputs
    found = retriever.nearest(snapshot, encoding.codes, question, asking.level, where, outputs, modality=modality)
    return replace(found, modality=modality)


def _local_case(snapshot: Snapshot, match: Match, expectation: float | None) -> Case:
    return Case(
        rank=str(match.rank),
        distance=f"{match.distance:g}",
        score=str(match.score),
        ranking_score="" if match.ranking_score is None else str(match.ranking_score),
        values=catalog.values(snapshot, match.image, SHOWN),
        uid=match.entity.uid,
        chance="" if expectation is None else f"{expectation:.3g}",
        duplicates="" if match.duplicates is None else str(match.duplicates),
    )


def ask_node(peer: Peer, asking: Asking) -> list[Case]:
    """Cases from a running node, which must have the example."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = str(asking.level)
    for keyword in SHOWN:
        setattr(identifier, keyword, "")
    identifier.Modality = asking.modality
    unique = {Level.IMAGE: "SOPInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.STUDY: "StudyInstanceUID"}
    setattr(identifier, unique[asking.level], "")
    add_block(
        identifier,
        [
            (Element.EXAMPLE_SOP_INSTANCE_UID, asking.sop_instance_uid),
            (Element.MAXIMUM_MATCHES, str(asking.question.maximum_matches)),
            (Element.EXCLUDE, sorted(asking.question.exclusions)),
            (Element.RANKING, asking.question.ranking or ""),
            (Element.SIMILARITY_RANK, ""),
            (Element.SIMILARITY_SCORE, ""),
            (Element.RANKING_SCORE, ""),
            (Element.HAMMING_DISTANCE, ""),
            (Element.DISTINCT, str(asking.question.distinct)),
            (Element.CHANCE_EXPECTATION, ""),
            (Element.DUPLICATES, ""),
        ],
    )
    return [_case(response, unique[asking.level]) for response in peer.find(identifier)]


def ranked_table(cases: Sequence[Case], asking: Asking) -> Table:
    """The answer as a table, first rank first, which says that these are other people."""
    staged, folded = any(case.ranking_score for case in cases), any(case.duplicates for case in cases)
    title = plain(f"Look-alikes of {asking.sop_instance_uid or 'the file'}")
    by_chance = any(case.is_chance for case in cases)
    caption = f"{WARNING} {NO_CLOSER}" if by_chance else WARNING
    table = Table(title=title, caption=caption, caption_style="bold yellow")
    headings = ("rank", "bits", "score", *(["ranking"] if staged else []), "by chance", *(["alike"] if folded else []))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what it is", min_width=16)
    table.add_column(f"{asking.level.lower()} UID", overflow="fold")
    for case in cases:
        shown = " ".join(case.values[keyword] for keyword in SHOWN if case.values.get(keyword))
        scores = [case.score, case.ranking_score][: 1 + staged]
        table.add_row(
            case.rank,
            case.distance,
            *(f"{float(score or 'nan'):.3f}" for score in scores),
            Text(case.chance or "?", style="bold red" if case.is_chance else ""),
            *([plain(case.duplicates)] if folded else []),
            plain(shown),
            plain(case.uid),
        )
    return table


def _case(response: Dataset, unique: str) -> Case:
    block = PrivateBlock(response)
    return Case(
        rank="".join(block.values(Element.SIMILARITY_RANK)),
        distance="".join(block.values(Element.HAMMING_DISTANCE)),
        score="".join(block.values(Element.SIMILARITY_SCORE)),
        ranking_score="".join(block.values(Element.RANKING_SCORE)),
        values={keyword: str(response.get(keyword) or "") for keyword in SHOWN},
        uid=str(response.get(unique, "")),
        chance=_number("".join(block.values(Element.CHANCE_EXPECTATION))),
        duplicates="".join(block.values(Element.DUPLICATES)),
    )


def _number(text: str) -> str:
    """The text if it is a number (VR DS), else an empty one: another node may write anything."""
    return text if re.fullmatch(r"[+-]?[0-9.]+([Ee][+-]?[0-9]+)?", text) and text.count(".") <= 1 else ""


def _without_own_patient(snapshot: Snapshot, asking: Asking, where: Filter) -> Filter:
    """The file is not indexed, but other images of its patient may be."""
    assert asking.file is not None
    patient_id, issuer = (text(asking.file, keyword) for keyword in ("PatientID", "IssuerOfPatientID"))
    if Exclusion.PATIENT not in asking.question.exclusions or not patient_id:
        return where
    return replace(where, excluded_patients=snapshot.possible_patients(patient_key(patient_id, issuer, "")))


def _read(path: Path) -> Dataset:
    if not path.exists():
        raise AskingError(f"there is no file {path}, and a SOP Instance UID has digits and dots only")
    if path.is_dir():
        raise AskingError(f"{path} is a folder: give one file of it, or `lookalike send` them all")
    try:
        return dcmread(path)
    except InvalidDicomError as error:
        raise AskingError(f"{path} is no DICOM file") from error


def _encode(settings: Settings, dataset: Dataset, modality: str) -> "Encoding":
    from hashing.model.encoder import Encoder  # torch is loaded for the one question that needs it

    model_path = settings.model_path or DEFAULT_MODEL
    encoder = Encoder.load(model_path, settings.code_length, settings.device, "torch")  # ready soonest
    try:
        _, images = network_inputs(dataset, settings.max_frames)
        return encoder.encode(images, [modality] * len(images))
    except PixelError as error:
        raise AskingError(f"the file cannot be encoded: {error}") from error

"""The view for plain query screens: a study that is named by its number gives the studies that look like it.

Many screens send Patient ID, name, number and date only, and many gateways drop private elements. Their queries are
answered here with look-alikes, against the meaning that the standard gives to those keys: so under an AE title of its
own, and for the callers that the settings name.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from pydicom.dataset import Dataset

from node.dicom.hierarchy import tag_of
from node.errors import Refusal, Status
from node.query import catalog
from node.query.find import Finder, Response
from node.query.identifier import Query, read_query
from node.query.matching import read_key
from node.query.question import MAX_EXAMPLES, Distinct, Exclusion, Question
from node.query.rules import STUDY_ROOT, QueryRules
from storage.folding import PADDING
from storage.record import Entity, Level

NAMING: Final = ("StudyInstanceUID", "AccessionNumber")
"""Keys that name the example; the first that has a value counts."""
FILTERS: Final = frozenset({"StudyDate", "ModalitiesInStudy"})
"""Keys that say which look-alikes are wanted."""


class ViewFinder(Finder):
    """Answers queries for a study, by Accession Number or Study Instance UID, with its look-alikes.

    Queries at the levels below are answered as usual, so that a screen can show the series of a look-alike.
    """

    def find(
        self,
        identifier: Dataset,
        rules: QueryRules = STUDY_ROOT,
        *,
        implicit: bool,
        is_cancelled: Callable[[], bool],
    ) -> Iterator[Response]:
        """Responses to a request; see `Finder.answer`.

        Raises
        ------
        Refusal
            A900: no study is named, or studies of several patients are. C101: it is not here. 0122: the SOP class is
            that of another service.
        """
        if rules.has_record_keys or rules.patient_root:
            raise Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "this AE title answers Study Root queries")
        query = read_query(identifier, replace(rules, is_view=True))
        if query.level == Level.STUDY and query.question is None:
            query = self._by_number(query)
            if query.unsupported and rules.refuses_unsupported:
                comment = "this key is not matched among look-alikes"
                raise Refusal(Status.DATA_SET_MISMATCH, comment, query.unsupported[-1])
        yield from self.answer(query, implicit=implicit, is_cancelled=is_cancelled)

    def _by_number(self, query: Query) -> Query:
        """The query by example that a query by a study's number stands for.

        Keys that neither name the example nor filter are returned only, and every response says so (FF01).
        """
        studies = self._named(query)
        question = Question(
            examples=tuple(study.uid for study in studies[:MAX_EXAMPLES]),
            example_level=Level.STUDY,
            exclusions=frozenset({Exclusion.SELF, Exclusion.PATIENT}),
            distinct=Distinct.PATIENT,
        )
        others = [k for k, key in query.keys.items() if not key.is_universal and k not in FILTERS and k not in NAMING]
        keys = {keyword: key if keyword in FILTERS else read_key(keyword, "") for keyword, key in query.keys.items()}
        unsupported = (*query.unsupported, *map(tag_of, others))
        return replace(query, question=question, keys=keys, unsupported=unsupported)

    def _named(self, query: Query) -> list[Entity]:
        """The studies that a query names: several only if a patient has several of one Accession Number."""
        given = {keyword: query.keys[keyword].text.strip(PADDING) for keyword in NAMING if keyword in query.keys}
        keyword = next((keyword for keyword in NAMING if given.get(keyword)), "")
        if not keyword or not {*given[keyword]}.isdisjoint("*?\\"):
            comment = "name the study by one Accession Number or Study Instance UID"
            raise Refusal(Status.DATA_SET_MISMATCH, comment, tag_of(keyword or NAMING[1]))
        key = read_key(keyword, given[keyword], QueryRules(empty_matches=False))
        with self.database.snapshot() as snapshot:
            studies = list(catalog.find(snapshot, Level.STUDY, {keyword: key}))
        if not studies:
            raise Refusal(Status.EXAMPLE_UNKNOWN, f"no study of this {keyword} is indexed here", tag_of(keyword))
        if len({study.uids[Level.PATIENT] for study in studies}) > 1:
            raise Refusal(Status.DATA_SET_MISMATCH, "studies of several patients have this number", tag_of(keyword))
        return studies

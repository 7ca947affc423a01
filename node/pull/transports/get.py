"""Fetching by C-GET: instances come on the association that we asked for (PS3.4 C.4.3)."""

from collections.abc import Iterator, Sequence
from typing import Final

from pydicom.uid import UID
from pynetdicom import ALL_TRANSFER_SYNTAXES, build_context, build_role
from pynetdicom.presentation import StoragePresentationContexts

from node.dicom.message_reader import InstanceStore
from node.dicom.sop_classes import STUDY_ROOT_GET
from node.pull.politeness.budget import Budget
from node.pull.search.archive import Archive
from node.pull.transports.transport import Batch, CountedStore, Delivery, problem_of
from node.retrieve.caller import SubOperations
from node.retrieve.source import MESSAGE_ID

MAX_CONTEXTS: Final = 127
"""Presentation contexts beside that of C-GET: their IDs are odd, 1 to 255 (PS3.8 9.3.2.2)."""
CLASSES_AT_ONCE: Final = MAX_CONTEXTS // len(ALL_TRANSFER_SYNTAXES)
"""SOP classes of one association, each in every transfer syntax: the archive need not convert anything."""


class GetTransport:
    """Fetches by C-GET (a `Transport`)."""

    def __init__(self, archive: Archive, receiver: InstanceStore, budget: Budget) -> None:
        self._archive, self._receiver, self._budget = archive, receiver, budget

    def fetch(self, study_instance_uid: str, batches: Sequence[Batch], delivery: Delivery) -> None:
        """Fetch batches over as few associations as their SOP classes need."""
        store = CountedStore(self._receiver, self._budget, delivery)
        for classes, some in _groups(batches):
            contexts = _contexts(classes)
            roles = [build_role(sop_class, scp_role=True) for sop_class in dict(contexts)]
            proposed = [build_context(STUDY_ROOT_GET), *(build_context(*context) for context in contexts)]
            self._archive.check()
            with self._archive.source.association(proposed, roles, store) as association:
                self._archive.source.check_accepts(association, STUDY_ROOT_GET)
                for batch in some:
                    association.send_c_get(batch.identifier(study_instance_uid), STUDY_ROOT_GET, MESSAGE_ID)
                    *_, last = self._archive.responses(association)
                    if problem := problem_of(last.Status, SubOperations.of(last), last.ErrorComment or ""):
                        delivery.note(problem)


def _groups(batches: Sequence[Batch]) -> Iterator[tuple[tuple[str, ...], list[Batch]]]:
    """Yield batches that go over one association, with their SOP classes; none where they are not known."""
    classes: set[str] = set()
    some: list[Batch] = []
    for batch in batches:
        needed = {one.sop_class_uid for one in batch.instances}
        if some and ("" in needed or "" in classes or len(classes | needed) > CLASSES_AT_ONCE):
            yield _known(classes), some
            classes, some = set(), []
        classes |= needed
        some.append(batch)
    if some:
        yield _known(classes), some


def _known(classes: set[str]) -> tuple[str, ...]:
    return () if "" in classes else tuple(sorted(classes))


def _contexts(classes: Sequence[str]) -> list[tuple[UID, str | list[str]]]:
    """SOP class and transfer syntaxes of each context to propose."""
    if not classes:  # every storage class in one context each, from which the archive chooses the syntax
        known = [UID(context.abstract_syntax or "") for context in StoragePresentationContexts]
        return [(sop_class, list(ALL_TRANSFER_SYNTAXES)) for sop_class in known[:MAX_CONTEXTS]]
    pairs: list[tuple[UID, str | list[str]]] = [
        (UID(sop_class), str(syntax)) for sop_class in classes for syntax in ALL_TRANSFER_SYNTAXES
    ]
    if len(pairs) > MAX_CONTEXTS:  # one batch of very many classes
        pairs = [(UID(sop_class), list(ALL_TRANSFER_SYNTAXES)) for sop_class in classes[:MAX_CONTEXTS]]
    return pairs

"""A node in this process, filled with a few studies, and a client of it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    PatientRootQueryRetrieveInformationModelFind as PatientRoot,
)
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelFind as StudyRoot,
)
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from node.dicom.client import send_at_once
from node.dicom.private import Element, PrivateBlock
from node.errors import Status
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.query.find import Finder
from node.query.retriever import Retriever
from node.roles.dicom import ApplicationEntity, fetcher
from node.settings import Settings
from storage.database.database import Database, Item
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.dicom.archive import instance, uid
from tests.support.running import free_port

__all__ = ["PatientRoot", "StudyRoot"]

MODELS = (StudyRoot, PatientRoot)
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
JANE = {"PatientID": "A", "PatientName": "Doe^Jane", "PatientSex": "F"}
JOHN = {"PatientID": "B", "PatientName": "Müller^Jörg", "PatientSex": "M"}
ALL = {
    "PatientID": "C",
    "PatientName": "Many^Images",
    "StudyDate": "19990101",
    "Modality": "OT",
    "Manufacturer": "ACME",
    "InstanceNumber": "9",
}
CT_2020 = {"StudyDate": "20200101", "Modality": "CT", "Rows": "512"}
JUNE = {"StudyDate": "20200615", "InstanceNumber": "1"}
ITEMS = [
    instance("1.1.1", 0, attributes=JANE | CT_2020 | {"InstanceNumber": "1"}),
    instance("1.1.2", 1, attributes=JANE | CT_2020 | {"InstanceNumber": "2"}),
    instance(
        "2.1.1",
        2,
        attributes=JANE | {"StudyDate": "20210101", "Modality": "MR", "Manufacturer": "Acme ", "InstanceNumber": "1"},
    ),
    instance("3.1.1", 3, attributes=JOHN | JUNE | {"Modality": "CT", "Rows": "512"}),
    instance("3.2.1", 9, 4, attributes=JOHN | JUNE | {"Modality": "PT", "Manufacturer": "Müller", "Rows": "128"}),
]
MANY = [instance(f"5.1.{number}", 0, attributes=ALL) for number in range(1500)]
EXAMPLE = {Element.EXAMPLE_SOP_INSTANCE_UID: uid("1.1.1")}
RETURNED = (
    Element.SIMILARITY_RANK, Element.SIMILARITY_SCORE, Element.HAMMING_DISTANCE, Element.CODE_LENGTH,
    Element.BEST_MATCH_SOP_INSTANCE_UID, Element.BEST_MATCH_SERIES_INSTANCE_UID, Element.BEST_MATCH_FRAME_NUMBER,
    Element.COVERAGE, Element.INDEXED_INSTANCES,
)  # fmt: skip


@dataclass
class Node:
    """A node, and a client that keeps one association for each model and transfer syntax it asked in."""

    settings: Settings
    finder: Finder
    receiver: Receiver
    entity: ApplicationEntity
    associations: dict[tuple[UID, UID], Association] = field(default_factory=dict)

    def associate(self, model: UID, syntax: UID = ExplicitVRLittleEndian, **options: Any) -> Association:
        """An association for one model and verification."""
        ae = AE("CLIENT")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        contexts = [build_context(model, syntax), build_context(Verification)]
        address = (self.settings.host, self.settings.port)
        handlers = [(evt.EVT_CONN_OPEN, send_at_once), *options.pop("evt_handlers", [])]
        association = ae.associate(*address, contexts, self.settings.ae_title, evt_handlers=handlers, **options)
        assert association.is_established
        return association

    def ask(
        self, request: Dataset, model: UID = StudyRoot, syntax: UID = ExplicitVRLittleEndian
    ) -> tuple[list[Dataset], list[Dataset]]:
        """Statuses and identifiers of the responses."""
        if (model, syntax) not in self.associations:
            self.associations[model, syntax] = self.associate(model, syntax)
        association = self.associations[model, syntax]
        let_the_last_request_end(association)
        responses = list(up_to_the_last(association, association.send_c_find(request, model)))
        return [status for status, _ in responses], [found for _, found in responses if found is not None]

    def found(self, request: Dataset, model: UID = StudyRoot, syntax: UID = ExplicitVRLittleEndian) -> list[Dataset]:
        """Identifiers of an answer that ends well."""
        statuses, found = self.ask(request, model, syntax)
        assert [status.Status for status in statuses] == [Status.PENDING] * len(found) + [Status.SUCCESS]
        return found


def up_to_the_last(
    association: Association, responses: Iterator[tuple[Dataset, Dataset | None]]
) -> Iterator[tuple[Dataset, Dataset | None]]:
    """Responses up to the final one; pynetdicom's client would wait for another after B001 (PS3.4 C.6.4.4)."""
    for status, found in responses:
        yield status, found
        if status.get("Status") == Status.RESPONSE_LIMIT_REACHED:
            association._reactor_checkpoint.set()  # as the client does after what it takes for the last
            return


def let_the_last_request_end(association: Association) -> None:
    """Wait until pynetdicom's thread runs on after a request: a second one sent earlier takes its old pause for a new
    one, and the thread swallows the first response."""
    while association._is_paused and not association._kill:
        time.sleep(0.001)


AMPLE_BYTES = 1 << 40  # the tests' own process holds far more than a receiver


@contextmanager
def answering_node(home: Path, items: Sequence[Item] = (*ITEMS, *MANY), **chosen: Any) -> Iterator[Node]:
    """A node that listens while in use, with chosen settings."""
    usual = {"port": free_port(), "max_find_responses": 2000, "receivers": 1, "longest_delay_s": 0}
    settings = Settings(home=home, receiver_memory_bytes=AMPLE_BYTES, **{**usual, **chosen})
    with Database.create_or_open(settings.database_path, 64, "model", 1 << 26) as database:
        database.append(items)
        spool = Spool(settings.spool_path, capacity=9, free_bytes=0)
        receiver = Receiver(spool, Pressure(spool, settings), Refusals(settings.run_path, 1))
        retriever = Retriever(spool, LocalIndex(database).view, "model")
        finder = Finder(settings, database, retriever, fetcher(settings, receiver, spool))
        entity = ApplicationEntity(settings, receiver, finder)
        entity.start()
        node = Node(settings, finder, receiver, entity)
        try:
            yield node
        finally:
            for association in node.associations.values():
                association.release()
            entity.stop()


def ours(response: Dataset) -> dict[Element, str]:
    """Private elements of a response."""
    block = PrivateBlock(response)
    return {element: "\\".join(block.values(element)) for element in Element if element in block}

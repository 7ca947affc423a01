"""C-MOVE and C-GET of kept objects, which the node sends itself (PS3.4 C.4.2, C.4.3)."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from pydicom.uid import UID

from node.dicom.client import Peer
from node.dicom.sop_classes import PATIENT_ROOT_GET, PATIENT_ROOT_MOVE
from node.errors import Refusal, Status
from node.retrieve.caller import RetrieveCall
from node.retrieve.kept import KeptInstance, KeptObjects, data_set_of, open_object, read_retrieval
from node.retrieve.move import move_destination
from node.retrieve.sub_operations import StoreSubOperations, Tally, refusal_of
from node.settings import Settings
from storage.vault import CLEAR

logger = logging.getLogger(__name__)

PATIENT_ROOT: Final = frozenset({PATIENT_ROOT_GET, PATIENT_ROOT_MOVE})
NOT_KEPT: Final = Refusal(Status.CANNOT_UNDERSTAND, "its object is not kept")
NOT_TAKEN: Final = Refusal(Status.SOP_CLASS_NOT_SUPPORTED, "it is not taken in a form that can be sent")
Relay = Callable[[RetrieveCall], None]
Outcomes = Iterator[tuple[str, Refusal | None]]
"""SOP Instance UID of each sub-operation, and why it failed, if it did."""


class LocalRetrieval:
    """Serves retrievals from kept objects, and has the source PACS serve what is not kept.

    Parameters
    ----------
    move, get
        Relay a request to the source PACS; None without one.
    """

    def __init__(
        self, settings: Settings, kept: KeptObjects, move: Relay | None = None, get: Relay | None = None
    ) -> None:
        self._settings, self._kept, self._relay_move, self._relay_get = settings, kept, move, get

    def move(self, call: RetrieveCall) -> None:
        """Serve a C-MOVE request.

        Raises
        ------
        Refusal
            A801: images may not be sent to the destination. A700, A900, C000: the identifier cannot be used.
        PeerError
            The destination does not answer, or went away.
        CallerGoneError, RetrievalCancelledError
            The caller ended the retrieval.
        """
        peer = Peer.of(self._settings, move_destination(self._settings, call))
        instances = self._instances(call)
        if self._relay_move is not None and not self._kept.serves(instances):
            self._relay_move(call)
        else:
            self._run(call, instances, _moved(call, instances, peer))

    def get(self, call: RetrieveCall) -> None:
        """Serve a C-GET request.

        Raises
        ------
        Refusal
            A702: the caller takes no images on its association. A700, A900, C000: the identifier cannot be used.
        CallerGoneError, RetrievalCancelledError
            The caller ended the retrieval.
        """
        instances = self._instances(call)
        if self._relay_get is not None and not self._kept.serves(instances):
            self._relay_get(call)
            return
        call.check_takes_instances()
        stores = StoreSubOperations(call, self._settings.network_timeout_s)
        limit = self._settings.max_decoded_bytes
        self._run(call, instances, ((one.sop_instance_uid, _sent(call, stores, one, limit)) for one in instances))

    def _instances(self, call: RetrieveCall) -> list[KeptInstance]:
        level, unique_keys = read_retrieval(call.identifier(), patient_root=call.model in PATIENT_ROOT)
        return self._kept.instances(level, unique_keys, call.check)

    def _run(self, call: RetrieveCall, instances: Sequence[KeptInstance], outcomes: Outcomes) -> None:
        """Count sub-operations as they are done, and tell the caller of each."""
        tally, total = Tally(), len(instances)
        call.counts = tally.counts(total)
        for uid, refusal in outcomes:
            tally.add(uid, refusal)
            call.counts = tally.counts(total)
            call.check()
            call.respond(Status.PENDING)
        counts = tally.counts(total)
        status = Status.WARNING if tally.failed or counts.warning else Status.SUCCESS
        if total and len(tally.failed) == total:
            status = Status.SUBOPERATIONS_NOT_PERFORMED
        call.respond(status, counts, "", tally.failed)
        logger.info("%s served %d kept instances, %d failed", call.caller, total, len(tally.failed))


def _moved(call: RetrieveCall, instances: Sequence[KeptInstance], peer: Peer) -> Outcomes:
    """Send kept objects to a peer, one by one as the result is read."""
    yield from ((one.sop_instance_uid, NOT_KEPT) for one in instances if one.path is None)
    paths = {one.path: one.sop_instance_uid for one in instances if one.path is not None}
    originator = (call.caller, int(call.request.MessageID or 0))
    vault = instances[0].vault if instances else CLEAR
    for stored in peer.store(paths, originator, vault):
        refusal = NOT_TAKEN if stored.status is None else refusal_of(stored.status)
        if refusal is not None:
            logger.warning("%s not moved to %s: %s", paths[stored.path], peer.ae_title, stored.comment or refusal)
        yield paths[stored.path], refusal


def _sent(call: RetrieveCall, stores: StoreSubOperations, instance: KeptInstance, limit: int) -> Refusal | None:
    """Send a kept object to the caller of a C-GET."""
    if instance.path is None:
        return NOT_KEPT
    try:
        return _sent_file(call, stores, instance, limit)
    except (Refusal, OSError) as error:
        logger.warning("%s is not sent: %s", instance.sop_instance_uid, error)
        return NOT_TAKEN


def _sent_file(call: RetrieveCall, stores: StoreSubOperations, instance: KeptInstance, limit: int) -> Refusal | None:
    uid, opened = instance.sop_instance_uid, open_object(instance, (), limit)
    assert opened is not None, "every form is wanted"
    file, sop_class, syntax = opened
    with file:
        context = call.storage_context(sop_class, syntax)
        if context is not None:
            return stores.send(context, sop_class, uid, file, data_set_of(file))
    taken = [c.transfer_syntax[0] for c in call.storage_contexts if c.abstract_syntax == sop_class]
    opened = open_object(instance, taken, limit) if taken else None
    context = None if opened is None else call.storage_context(sop_class, UID(opened[2]))
    if opened is None or context is None:
        logger.warning("%s is not sent: the caller does not take %s", uid, syntax.name)
        return NOT_TAKEN
    with opened[0] as converted:
        return stores.send(context, sop_class, uid, converted, data_set_of(converted))

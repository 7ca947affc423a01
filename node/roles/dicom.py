"""The role `dicom`: one listener that receives instances and answers queries, on pynetdicom."""

import logging
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from pydicom import config as pydicom_config
from pynetdicom import AE, _config
from pynetdicom.dimse_primitives import C_FIND, C_GET, C_MOVE, N_ACTION, N_CREATE, N_EVENT_REPORT
from pynetdicom.presentation import PresentationContext

from node.access.audit_trail import AuditTrail
from node.access.callers import Callers, Origin
from node.access.logins import UnknownCallerError
from node.access.tls import dicom_context
from node.ask.commitment import CommitmentReportService
from node.ask.incoming_question import IncomingQuestion
from node.ask.originals import Originals
from node.ask.region_queries import region_searcher
from node.ask.view import ViewFinder
from node.commitment.reporter import CommitmentReporter
from node.commitment.service import CommitmentService, refuse
from node.commitment.verdict import Judge
from node.corrections.follower import CorrectionFollower
from node.corrections.notification_service import NotificationService
from node.corrections.order_book import OrderBook
from node.dicom.association_request import AssociationRequest
from node.dicom.auditing import audited
from node.dicom.listener import NO_HANDSHAKE, Listener
from node.dicom.negotiation import (
    CALLER_NOT_RECOGNIZED,
    LOCAL_LIMIT_EXCEEDED,
    AcceptedAssociation,
    Admission,
    Rejection,
    Serve,
)
from node.dicom.quotas import Quotas
from node.dicom.sop_classes import ASK, Service, offered_services
from node.home import open_for_reading, open_objects, open_outbox, open_questions
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.options.access import Right
from node.processes import Heartbeat
from node.query.find import Fetch, Finder
from node.query.find_service import FindService
from node.retrieve.fetch import ExampleFetcher
from node.retrieve.get import GetRelay
from node.retrieve.hidden import HiddenInstances
from node.retrieve.kept import KeptObjects
from node.retrieve.local import LocalRetrieval
from node.retrieve.move import MoveRelay
from node.retrieve.relay import serve
from node.retrieve.source import SourceArchive
from node.roles.kernel_cache import load_kernels
from node.roles.probe import answers
from node.roles.threads import vital_thread
from node.settings import Settings
from node.version import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from storage.spool.queue import Spool

logger = logging.getLogger(__name__)

WRITE_EVERY_S: Final = 1.0
"""Interval at which the counted refusals are written, and the role shows that it lives."""
TRY_LATER: Final = "to try later"
PROBE_EVERY_S: Final = 3.0
PROBE_TIMEOUT_S: Final = 5.0
"""How often the role asks itself for an association, and how long that may take."""


def run(settings: Settings, stop: threading.Event, number: int, heartbeat: Heartbeat) -> None:
    """Receive and answer until `stop` is set.

    Raises
    ------
    RuntimeError
        The thread that accepts connections has ended.
    """
    reading = open_for_reading(settings)
    spool = reading.retriever.spool
    refusals = Refusals(settings.run_path, number)
    follower = CorrectionFollower(settings, OrderBook(settings.corrections_path))
    receiver = Receiver(spool, Pressure(spool, settings), refusals, follower.follow_key_objects)
    originals = Originals(settings, settings.run_path / f"originals-{number}", refusals)
    by_region = region_searcher(settings, reading.database, reading.retriever, originals)
    fetch = fetcher(settings, receiver, spool)
    finder = Finder(settings, reading.database, reading.retriever, fetch, by_region)
    entity = ApplicationEntity(settings, receiver, finder)
    entity.start()
    load_kernels(settings.run_path, reading.database.header.code_length)
    if entity.is_alive():
        heartbeat.renew()  # ready
    logger.info("listening as %s on %s:%d", settings.ae_title, settings.plain_dicom_host, settings.port)
    if settings.tls_port:
        logger.info("listening with TLS on %s:%d", settings.host, settings.tls_port)
    with _reporting(settings, entity.judge(), stop, number):
        while not stop.wait(WRITE_EVERY_S):
            if entity.is_alive():
                heartbeat.renew()
            refusals.write()
    entity.stop()
    refusals.write()


def _reporting(settings: Settings, judge: Judge, stop: threading.Event, number: int) -> AbstractContextManager[None]:
    """Have the first receiver report storage commitment, where objects are kept."""
    if not settings.keeps_for_good or number != 1:
        return nullcontext()
    return vital_thread("commitment", stop, partial(CommitmentReporter(settings, judge).run, stop))


def fetcher(settings: Settings, receiver: Receiver, spool: Spool) -> Fetch | None:
    """What fetches missing examples from the source PACS, None if that is not set."""
    if not settings.fetch_missing_example:
        return None
    return ExampleFetcher(settings, SourceArchive(settings, receiver), spool).fetch


def services_by_title(settings: Settings) -> dict[str, frozenset[Service]]:
    """Services of each AE title under which the node is called."""
    services = {settings.ae_title.strip(): offered_services(settings)}
    view = offered_services(settings) & {Service.VERIFICATION, Service.FIND, Service.MOVE, Service.GET}
    services |= {settings.view_ae_title.strip(): view} if settings.offers_view else {}
    return services | ({settings.ask_ae_title.strip(): ASK} if settings.answers_questions else {})


class ApplicationEntity:
    """Our application entity: listens, admits callers, and hands requests to the receiver and the finder.

    It is the `AssociationPolicy` of its listener.
    """

    def __init__(self, settings: Settings, receiver: Receiver, finder: Finder, trail: AuditTrail | None = None) -> None:
        self.settings, self.receiver = settings, receiver
        self._trail = trail or AuditTrail(settings, "dicom")
        self.find_service = FindService(settings, finder)
        self._view = FindService(settings, ViewFinder(settings, finder.database, finder.retriever))
        self.accept_unknown_sop_classes = settings.accept_unknown_sop_classes
        self.services: Mapping[str, frozenset[Service]] = services_by_title(settings)
        self._callers = Callers(settings, self._trail)
        self._questions = open_questions(settings)
        each = settings.max_associations_each
        self._quotas = Quotas(settings.run_path / "associations", settings.max_associations, each)
        self._listener: Listener | None = None
        self._tls_listener: Listener | None = None
        self._probed_s, self._answered = -PROBE_EVERY_S, False

    def start(self) -> None:
        """Listen, in threads of this process.

        Raises
        ------
        OSError
            The address is in use or not ours.
        """
        _config.LOG_HANDLER_LEVEL = "none"
        _config.LOG_REQUEST_IDENTIFIERS = False  # patients first: identifiers stay out of the log
        _config.LOG_RESPONSE_IDENTIFIERS = False
        pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE  # its warnings quote values
        settings, services = self.settings, self._services()
        listen = partial(Listener, shared=settings.receivers > 1, services=services)
        plain = (settings.plain_dicom_host, settings.port)
        self._listener = listen(self._ae(), plain, self.receiver, self)
        if settings.tls_port:
            secure = (settings.host, settings.tls_port)
            self._tls_listener = listen(self._ae(), secure, self.receiver, self, tls=dicom_context(settings))

    def stop(self) -> None:
        """Stop listening and close what is open."""
        for listener in (self._listener, self._tls_listener):
            if listener is not None:
                listener.stop()
        self._listener = self._tls_listener = None
        self._trail.close()

    def is_alive(self) -> bool:
        """True if the entity still answers: every few seconds it asks itself for an association and a C-ECHO.

        Raises
        ------
        RuntimeError
            The thread that accepts connections has ended: the role must end, too, to be started again.
        """
        listener = self._listener
        secure = self._tls_listener
        if listener is None or not listener.is_running or (secure is not None and not secure.is_running):
            raise RuntimeError("the thread that accepts connections has ended")
        now = time.monotonic()
        if now - self._probed_s >= PROBE_EVERY_S:
            self._answered = answers(listener, self.settings.ae_title, PROBE_TIMEOUT_S)
            self._probed_s = time.monotonic()
            if not self._answered:
                logger.error("this receiver does not answer itself within %.0f s", PROBE_TIMEOUT_S)
        return self._answered

    def admit(self, request: AssociationRequest, origin: Origin, *, stores: bool) -> Admission:
        """Take a slot for an association; if it asks by sending, begin a question.

        Raises
        ------
        Rejection
            For now: a limit is near, or all slots are taken (PS3.8 9.3.4, local limit exceeded). For ever: nothing in
            the settings admits the caller; or it asks by sending, and there is no peer to send the answer to; or it
            uses the view, and may not.
        """
        title, called = request.calling_ae_title, request.called_ae_title
        try:
            caller = self._callers.of_association(title, origin)
        except UnknownCallerError as error:
            raise Rejection(CALLER_NOT_RECOGNIZED, f"unknown caller: {error}") from error
        asks = called == self.settings.ask_ae_title.strip()
        peer = self.settings.peers.get(title)
        if called == self.settings.view_ae_title.strip() and (peer is None or not peer.views):
            raise Rejection(CALLER_NOT_RECOGNIZED, "this caller may not use the view")
        if asks and not self.settings.answers_to(title):
            raise Rejection(CALLER_NOT_RECOGNIZED, "no destination is set for answers to this caller")
        level = self.receiver.pressure.rejects() if stores else None
        if level is not None:
            raise Rejection(LOCAL_LIMIT_EXCEEDED, f"{TRY_LATER}: {level.resource} near the limit")
        slot = self._quotas.take(title)
        if slot is None:
            raise Rejection(LOCAL_LIMIT_EXCEEDED, f"{TRY_LATER}: too many associations")
        if not asks:
            return Admission(slot.release, caller)
        question = IncomingQuestion(self._questions.open(title), slot.release)
        receiver = Receiver(question, self.receiver.pressure, self.receiver.refusals)
        return Admission(question.close, caller, receiver, Right.ASK)

    def note(self, reason: str, calling_ae_title: str, address: str = "") -> None:
        """Count what was refused or mended, and have an audit message of it where that was for good reason."""
        if reason == NO_HANDSHAKE:
            self._trail.rejected(calling_ae_title, address, reason)
        self.receiver.refusals.add(reason, calling_ae_title)

    def _ae(self) -> AE:
        ae = AE(ae_title=self.settings.ae_title)
        ae.maximum_pdu_size = self.settings.maximum_pdu_size
        ae.network_timeout = self.settings.network_timeout_s
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        return ae

    def _serve_find(self, association: AcceptedAssociation, context: PresentationContext, request: C_FIND) -> None:
        called = association.dul.request.called_ae_title if association.dul.request else ""
        is_view = self.settings.offers_view and called == self.settings.view_ae_title.strip()
        (self._view if is_view else self.find_service).serve(association, context, request)

    def _services(self) -> dict[type, Serve]:
        """All services beside C-ECHO and C-STORE, by request."""
        follower = CorrectionFollower(self.settings, OrderBook(self.settings.corrections_path))
        always: dict[type, Serve] = {
            C_FIND: audited(self._serve_find, self._trail),
            N_CREATE: NotificationService(follower).serve,
            N_EVENT_REPORT: CommitmentReportService(partial(open_outbox, self.settings)).serve,
        }
        retrievals = {kind: audited(serve, self._trail) for kind, serve in self._retrievals().items()}
        return always | retrievals | self._commitments()

    def _commitments(self) -> dict[type, Serve]:
        """The service of storage commitment, by request; it refuses where no objects are kept for good."""
        if not self.settings.keeps_for_good:
            return {N_ACTION: refuse}
        return {N_ACTION: CommitmentService(self.settings, self.judge()).serve}

    def judge(self) -> Judge:
        """The judge of what the node can commit itself to."""
        finder = self.find_service.finder
        return Judge(finder.database, open_objects(self.settings), finder.retriever.spool)

    def _retrievals(self) -> dict[type, Serve]:
        """The services of C-MOVE and C-GET, by request; empty if no objects are kept and no source PACS is set."""
        settings, database = self.settings, self.find_service.finder.database
        move, get = None, None
        if settings.source_peer:
            source, hidden = SourceArchive(settings, self.receiver), HiddenInstances(database)
            move, get = MoveRelay(settings, source, hidden).relay, GetRelay(settings, source, hidden).relay
        if settings.retain == "all":
            local = LocalRetrieval(settings, KeptObjects(settings, database, open_objects(settings)), move, get)
            move, get = local.move, local.get
        return {C_MOVE: partial(serve, move), C_GET: partial(serve, get)} if move and get else {}

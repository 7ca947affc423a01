"""The audit trail of one process: events become durable files, beside what the process does for its callers.

A thread builds and writes them, many at once: recording costs a caller some microseconds, and a full disk costs nothing
but the record. `AuditSender` sends the files to a collector.
"""

import logging
import os
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock, Thread
from typing import Final

from node.access import audit_message as terms
from node.access.audit_message import Action, AuditEvent, EventOutcome, Participant, Subject, audit_message
from node.settings import Settings
from storage.durable import folder_names, make_private_folder, write_durably
from storage.record import Record

logger = logging.getLogger(__name__)

PRIORITY: Final = 10 * 8 + 5  # facility security/authorization, severity notice (RFC 5424 6.2.1; PS3.15 A.6)
MESSAGE_ID: Final = "DICOM+RFC3881"
SUFFIX: Final = ".audit"
MAX_WAITING: Final = 10_000
"""Events that wait in memory for the disk; beyond them the newest are lost, and the log says so."""
MAX_BATCH: Final = 200
LOOK_S: Final = 0.2
COMPLAIN_EVERY_S: Final = 60.0
VIEW_S: Final = 60.0
"""Time in which previews of one study that one caller looks at are one access, seconds."""


class AuditTrail:
    """Records events of one process.

    Parameters
    ----------
    process
        Name of the process in messages, as "dicom".
    """

    def __init__(self, settings: Settings, process: str) -> None:
        self._settings, self._process = settings, process
        self._folder = settings.audit_path
        self._waiting: SimpleQueue[AuditEvent] = SimpleQueue()
        self._stop = Event()
        self._written = 0
        self._complained_s = -COMPLAIN_EVERY_S
        self._thread: Thread | None = None
        self._starting, self._viewing = Lock(), Lock()
        self._views: dict[tuple[str, str, str], float] = {}

    @property
    def _node(self) -> Participant:
        return Participant(self._settings.ae_title, terms.DESTINATION)

    def record(self, event: AuditEvent) -> None:
        """Record an event; never raises, and never waits for the disk."""
        if self._waiting.qsize() >= MAX_WAITING:
            self._complain("audit messages come faster than the disk takes them: the newest are lost")
        else:
            self._waiting.put(event)
            self._start()

    def close(self) -> None:
        """Write what waits."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def started(self, *, stopped: bool = False) -> None:
        """Record that the node starts, or stops."""
        kind = terms.APPLICATION_STOP if stopped else terms.APPLICATION_START
        node = Participant(self._settings.ae_title, terms.APPLICATION)
        self.record(AuditEvent(terms.APPLICATION_ACTIVITY, Action.EXECUTE, [node], type=kind))

    def rejected(self, calling_ae_title: str, address: str, reason: str) -> None:
        """Record that somebody was not let in."""
        self._alert(terms.NODE_AUTHENTICATION, calling_ae_title, address, reason, EventOutcome.MINOR_FAILURE)

    def denied(self, caller: str, address: str, reason: str) -> None:
        """Record that a known caller wanted what it has no right to."""
        self._alert(terms.RESTRICTED_FUNCTION, caller, address, reason, EventOutcome.MINOR_FAILURE)

    def queried(self, caller: str, address: str, sop_class_uid: str, query: bytes) -> None:
        """Record a query with its identifier, or its address of DICOMweb."""
        subject = Subject(sop_class_uid, terms.SOP_CLASS_UID, query=query)
        self.record(AuditEvent(terms.QUERY, Action.EXECUTE, [_source(caller, address), self._node], [subject]))

    def retrieved(self, caller: str, address: str, study_instance_uid: str) -> None:
        """Record that a caller wants the images of a study."""
        participants = [_source(caller, address), self._node]
        self.record(AuditEvent(terms.BEGIN_TRANSFERRING, Action.EXECUTE, participants, [_study(study_instance_uid)]))

    def accessed(self, caller: str, address: str, study_instance_uid: str) -> None:
        """Record that a caller looks at images of a study."""
        participants = [_source(caller, address)]
        self.record(AuditEvent(terms.INSTANCES_ACCESSED, Action.READ, participants, [_study(study_instance_uid)]))

    def viewed(self, caller: str, address: str, study_instance_uid: str) -> None:
        """Record that a caller looks at previews of a study; once a minute, however many they are."""
        view, now_s = (caller, address, study_instance_uid), time.monotonic()
        with self._viewing:
            self._views = {one: seen_s for one, seen_s in self._views.items() if now_s - seen_s < VIEW_S}
            is_new = view not in self._views
            self._views.setdefault(view, now_s)
        if is_new:
            self.accessed(caller, address, study_instance_uid)

    def transferred(self, records: Iterable[Record]) -> None:
        """Record that instances arrived and are indexed, study by study."""
        studies: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
        for record in records:
            sender = record.instance.get("RetrieveAETitle", "")
            studies[sender, record.study_instance_uid, record.patient.get("PatientID", "")].append(record)
        for (sender, study, patient_id), of_study in studies.items():
            subjects = [_study(study, _classes(of_study)), _patient(patient_id)]
            participants = [_source(sender, ""), self._node]
            self.record(AuditEvent(terms.INSTANCES_TRANSFERRED, Action.CREATE, participants, subjects))

    def expired(self, records: Iterable[Record], reason: str) -> None:
        """Record that the node deleted previews or objects of instances, study by study, and why."""
        studies: dict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in records:
            studies[record.study_instance_uid, record.patient.get("PatientID", "")].append(record)
        node = Participant(self._settings.ae_title, terms.APPLICATION, is_requestor=True)
        for (study, patient_id), of_study in studies.items():
            subjects = [_study(study, _classes(of_study)), _patient(patient_id)]
            self.record(AuditEvent(terms.INSTANCES_ACCESSED, Action.DELETE, [node], subjects, comment=reason))

    def deleted(self, study_instance_uid: str, patient_id: str) -> None:
        """Record that a study, or all of a patient, was erased."""
        subjects = [_study(study_instance_uid)] if study_instance_uid else []
        subjects += [_patient(patient_id)] if patient_id else []
        operator = Participant(f"user {os.getuid()}", terms.APPLICATION, is_requestor=True)
        self.record(AuditEvent(terms.STUDY_DELETED, Action.DELETE, [operator], subjects))

    def _alert(self, kind: terms.Code, caller: str, address: str, reason: str, outcome: EventOutcome) -> None:
        node = Subject(caller, terms.NODE_ID, terms.SYSTEM_OBJECT, terms.RESOURCE_ROLE)
        participants = [self._node, _source(caller, address)]
        alert = AuditEvent(
            terms.SECURITY_ALERT, Action.EXECUTE, participants, [node], outcome, type=kind, comment=reason
        )
        self.record(alert)

    def _start(self) -> None:
        """Start the thread with the first event."""
        with self._starting:
            if self._thread is None:
                self._thread = Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not (self._stop.is_set() and self._waiting.empty()):
            events = self._next_batch()
            if events:
                try:
                    self._write(events)
                except Exception as error:  # recording must never end what it records
                    self._complain(f"audit messages cannot be written, and are lost: {error}")

    def _next_batch(self) -> list[AuditEvent]:
        events: list[AuditEvent] = []
        with suppress(Empty):
            events.append(self._waiting.get(timeout=LOOK_S))
            while len(events) < MAX_BATCH:
                events.append(self._waiting.get_nowait())
        return events

    def _write(self, events: Sequence[AuditEvent]) -> None:
        make_private_folder(self._folder)
        framed = [_framed(event, self._settings.ae_title, self._process) for event in events]
        name = f"{time.time_ns():020d}-{self._process}-{os.getpid()}"
        write_durably(framed, self._folder / f"{name}.part", self._folder / f"{name}{SUFFIX}")
        self._written += 1
        if self._written % 100 == 1:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Delete the oldest files beyond the limit."""
        names = audit_files(self._folder)
        for path in names[: max(0, len(names) - self._settings.audit_files)]:
            path.unlink(missing_ok=True)
            if self._settings.audit_collector:
                self._complain("audit messages wait beyond audit_files: the oldest are deleted")

    def _complain(self, what: str) -> None:
        if time.monotonic() - self._complained_s > COMPLAIN_EVERY_S:
            self._complained_s = time.monotonic()
            logger.error("%s", what)


def audit_files(folder: Path) -> list[Path]:
    """Files of audit messages, oldest first; none if there is no folder."""
    try:
        return sorted(folder / name for name in folder_names(folder) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def _framed(event: AuditEvent, source: str, process: str) -> bytes:
    """An event as a syslog message with its length before it (RFC 5424 section 6, RFC 5425 section 4.3)."""
    when = event.time.isoformat(timespec="milliseconds")
    head = f"<{PRIORITY}>1 {when} {socket.gethostname()} lookalike-{process} {os.getpid()} {MESSAGE_ID} - \ufeff"
    message = head.encode() + audit_message(event, source)
    return b"%d %s" % (len(message), message)


def _source(caller: str, address: str) -> Participant:
    return Participant(caller, terms.SOURCE, address, is_requestor=True)


def _study(study_instance_uid: str, instances: Sequence[tuple[str, int]] = ()) -> Subject:
    return Subject(study_instance_uid, terms.STUDY_UID, instances=instances)


def _classes(records: Iterable[Record]) -> tuple[tuple[str, int], ...]:
    """Number of instances by SOP class."""
    return tuple(sorted(Counter(record.instance.get("SOPClassUID", "") for record in records).items()))


def _patient(patient_id: str) -> Subject:
    return Subject(patient_id, terms.PATIENT_NUMBER, terms.PERSON, terms.PATIENT_ROLE)

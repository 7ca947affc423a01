"""Results are sent: to each destination in order, again until it takes them, with storage commitment where offered."""

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import build_context, evt
from pynetdicom.association import Association

from node.ask.commitment import committed_uids
from node.dicom.client import Peer, PeerConnection
from node.dicom.sop_classes import STORAGE_COMMITMENT
from node.errors import PeerError, Status, printable
from node.settings import Settings
from storage.spool.outbox import Outbox, Parcel

POLL_S: Final = 0.2
FIRST_PAUSE_S, MAX_PAUSE_S = 1.0, 300.0
MAX_REFUSALS: Final = 5
"""An object that its destination refuses so often is given up, so that those behind it arrive."""
DESTINATIONS_AT_ONCE: Final = 8
COMMITMENT_WAIT_S: Final = 2.0
"""Time in which a peer may confirm over the same association; later it may over one of its own."""
COMMITMENT_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
"""Well-known SOP Instance UID of the Storage Commitment Push Model (PS3.4 J.3.5)."""
REQUEST_COMMITMENT: Final = 1  # Action Type ID (PS3.4 table J.3-1)

logger = logging.getLogger(__name__)


class ResultSender:
    """Sends what the outbox holds, one object after the other for each destination."""

    def __init__(self, settings: Settings, outbox: Outbox) -> None:
        self._settings, self._outbox = settings, outbox
        self._busy: set[str] = set()
        self._pauses_s: dict[str, float] = {}
        self._lock = Lock()

    def run(self, stop: Event) -> None:
        """Send until `stop` is set."""
        with ThreadPoolExecutor(DESTINATIONS_AT_ONCE, "sender") as threads:
            while not stop.wait(POLL_S):
                for parcel in self._outbox.due():
                    with self._lock:
                        if parcel.destination in self._busy:
                            continue
                        self._busy.add(parcel.destination)
                    threads.submit(self._send_all, parcel.destination, stop)

    def _send_all(self, destination: str, stop: Event) -> None:
        """Send to one destination while something is due for it."""
        try:
            while not stop.is_set():
                parcel = next((one for one in self._outbox.due() if one.destination == destination), None)
                if parcel is None:
                    return
                self.send(parcel)
        except Exception:
            logger.exception("internal error while sending to %s", destination)
        finally:
            with self._lock:
                self._busy.discard(destination)

    def send(self, parcel: Parcel) -> None:
        """Send one object, and note in the outbox what became of it."""
        try:
            status = self._store(parcel)
        except (PeerError, OSError) as error:
            self._wait(parcel, str(error), counts=False)
            return
        if status in SUCCESS:
            self._pauses_s.pop(parcel.destination, None)
            self._outbox.sent(parcel)
            logger.info("result %s sent to %s", parcel.sop_instance_uid, parcel.destination)
        elif status is not None and status >> 8 == Status.OUT_OF_RESOURCES >> 8:
            self._wait(parcel, f"status {status:04X}", counts=False)
        elif parcel.attempts + 1 >= MAX_REFUSALS:
            logger.error("result %s is given up: %s refuses it", parcel.sop_instance_uid, parcel.destination)
            self._outbox.give_up(parcel)
        else:
            why = "no SOP class of it is accepted" if status is None else f"status {status:04X}"
            self._wait(parcel, why, counts=True)

    def _wait(self, parcel: Parcel, why: str, *, counts: bool) -> None:
        pause_s = self._pauses_s.get(parcel.destination, FIRST_PAUSE_S)
        self._pauses_s[parcel.destination] = min(2 * pause_s, MAX_PAUSE_S)
        reason = printable(why, 200)
        logger.warning("result %s waits %.0f s: %s", parcel.sop_instance_uid, pause_s, reason)
        self._outbox.postpone(parcel, pause_s, counts=counts)

    def _store(self, parcel: Parcel) -> int | None:
        """Send the first form whose SOP class is accepted; return the status, None if no form is accepted."""
        forms = [self._read(path) for path in parcel.files]
        syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        classes = dict.fromkeys(form.SOPClassUID for form in forms)
        contexts = [build_context(one, syntax) for one in classes for syntax in syntaxes]
        contexts.append(build_context(STORAGE_COMMITMENT))
        confirmed: list[str] = []
        peer = Peer.of(self._settings, parcel.destination)
        handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, _take_report, [confirmed])]
        with PeerConnection(peer, contexts, handlers) as association:
            accepted = {context.abstract_syntax for context in association.accepted_contexts}
            form = next((one for one in forms if one.SOPClassUID in accepted), None)
            if form is None:
                return None
            status: int | None = association.send_c_store(form).get("Status")
            if status is None:
                raise PeerError(f"{peer} ended the association")
            if status in SUCCESS and STORAGE_COMMITMENT in accepted:
                self._ask_for_commitment(association, form, confirmed)
        self._outbox.committed(confirmed, parcel.destination)
        return status

    def _read(self, path: Path) -> Dataset:
        with self._outbox.vault.open(path) as file:
            return dcmread(file)

    def _ask_for_commitment(self, association: Association, form: Dataset, confirmed: Sequence[str]) -> None:
        """Ask whether the destination keeps an object (PS3.4 J.3.2); its answer may also come later, by itself."""
        request, item = Dataset(), Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = form.SOPClassUID, form.SOPInstanceUID
        request.TransactionUID, request.ReferencedSOPSequence = generate_uid(None), [item]
        status, _ = association.send_n_action(request, REQUEST_COMMITMENT, STORAGE_COMMITMENT, UID(COMMITMENT_INSTANCE))
        deadline_s = time.monotonic() + COMMITMENT_WAIT_S
        while status.get("Status") == 0 and not confirmed and time.monotonic() < deadline_s:
            time.sleep(POLL_S / 4)


SUCCESS: Final = (0x0000, 0xB000, 0xB006, 0xB007)
"""Statuses of a C-STORE after which the object is there: some with a warning (PS3.4 table B.2-1)."""


def _take_report(event: Any, confirmed: list[str]) -> tuple[int, Dataset | None]:
    """Note which objects a peer has committed itself to keep."""
    confirmed += committed_uids(event.event_type, event.event_information)
    return 0, None

"""Client of another application entity: C-ECHO, C-STORE, C-FIND."""

import re
import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, StoragePresentationContexts, build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification  # type: ignore[attr-defined]

from node.access.tls import peer_context
from node.dicom.sop_classes import FIND_CLASSES, GET_CLASSES, MOVE_CLASSES
from node.errors import PeerError, Status, printable
from node.settings import Settings
from storage.vault import CLEAR, Vault

MAX_CONTEXTS = 128  # their numbers are odd and take one byte (PS3.8 section 9.3.2.2)
UNCOMPRESSED = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
PENDING = {Status.PENDING, Status.PENDING_WITH_UNSUPPORTED_KEYS}
TIMEOUT_S = 30
RESUME_S = 0.0005  # how soon pynetdicom's thread may run on after a response
MAX_COMMENT = 200  # characters of the reason why a file could not be sent
Originator = tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class StoreOutcome:
    """Response of a peer to one file.

    Attributes
    ----------
    path
        The file.
    status
        DIMSE status, 0x0000 for success; None for a file that could not be sent.
    comment
        Error Comment of the peer, or why the file could not be sent; printable.
    """

    path: Path
    status: int | None
    comment: str


@dataclass(frozen=True, slots=True)
class Peer:
    """An application entity at an address, and the title under which we call it.

    Attributes
    ----------
    tls
        Context of TLS, and the name that its certificate must have; None for plain connections.
    """

    ae_title: str
    host: str
    port: int
    calling_ae_title: str = "LOOKALIKE_CLI"
    maximum_pdu_size: int = 131072
    tls: tuple[ssl.SSLContext, str] | None = None

    @classmethod
    def of(cls, settings: Settings, ae_title: str) -> "Peer":
        """The peer that the table of the settings has under an AE title; we call it under our own.

        Raises
        ------
        PeerError
            The table has no such AE title.
        SettingsError
            It is called over TLS, and a file of that is not set or cannot be used.
        """
        entity = settings.peers.get(ae_title)
        if entity is None:
            raise PeerError(f"{ae_title!r} is not in the table of peers in the settings")
        tls = peer_context(settings, entity) if entity.tls else None
        return cls(ae_title, entity.host, entity.port, settings.ae_title, entity.maximum_pdu_size, tls)

    @classmethod
    def parse(cls, text: str) -> "Peer":
        """The peer that a text names as AETITLE@HOST:PORT.

        Raises
        ------
        PeerError
            The text is not written so.
        """
        parts = re.fullmatch(r"(?P<title>[^@]{1,16})@(?P<host>.+):(?P<port>\d{1,5})", text)
        if parts is None:
            raise PeerError(f"{text!r} is no peer: write AETITLE@HOST:PORT, as in LOOKALIKE@127.0.0.1:11112")
        return cls(parts["title"], parts["host"], int(parts["port"]))

    def echo(self) -> None:
        """Verify that the peer answers (C-ECHO).

        Raises
        ------
        PeerError
            It does not answer, or refuses.
        """
        with PeerConnection(self, [build_context(Verification)]) as association:
            status = association.send_c_echo()
            if status.get("Status") != Status.SUCCESS:
                raise PeerError(f"{self} refused C-ECHO")

    def accepted_sop_classes(self) -> list[UID]:
        """SOP classes that the peer accepts, of those that the node uses or stores, after a C-ECHO if it takes one.

        Raises
        ------
        PeerError
            It does not answer, or fails a C-ECHO that it accepted.
        """
        services = [Verification, *FIND_CLASSES, *MOVE_CLASSES, *GET_CLASSES]
        storage = [context.abstract_syntax for context in StoragePresentationContexts]
        proposed = [build_context(sop_class) for sop_class in [*services, *storage][:MAX_CONTEXTS] if sop_class]
        with PeerConnection(self, proposed) as association:
            accepted = [UID(context.abstract_syntax or "") for context in association.accepted_contexts]
            if Verification in accepted and association.send_c_echo().get("Status") != Status.SUCCESS:
                raise PeerError(f"{self} refused C-ECHO")
        return accepted

    def store(
        self, paths: Iterable[Path], originator: Originator = None, vault: Vault = CLEAR
    ) -> Iterator[StoreOutcome]:
        """Send files (C-STORE) over as few associations as possible, and yield the outcome of each.

        Parameters
        ----------
        originator
            AE title and Message ID of the C-MOVE request for which they are sent, None for none.
        vault
            Opens files that are sealed.

        Raises
        ------
        PeerError
            The peer does not accept an association, or ends one while files are being sent.
        """
        for batch, contexts in _batches(paths, vault):
            if not contexts:
                yield from (StoreOutcome(path, None, "no DICOM file") for path in batch)
                continue
            with PeerConnection(self, contexts) as association:
                for path in batch:
                    yield self._store(association, path, originator, vault)

    def _store(self, association: Association, path: Path, originator: Originator, vault: Vault) -> StoreOutcome:
        if not association.is_established:
            raise PeerError(f"{self} ended the association while files were being sent")
        while association._is_paused and not association._kill:  # its thread would take the next response for itself
            time.sleep(RESUME_S)
        try:
            title, message_id = originator or (None, None)
            with vault.open(path) as file:
                status = association.send_c_store(dcmread(file), originator_aet=title, originator_id=message_id)
        except Exception as error:  # whatever an odd file provokes in the library costs that file only
            return StoreOutcome(path, None, printable(str(error), MAX_COMMENT))
        return StoreOutcome(path, status.get("Status"), printable(str(status.get("ErrorComment", ""))))

    def find(self, identifier: Dataset, model: UID = StudyRootQueryRetrieveInformationModelFind) -> Iterator[Dataset]:
        """Identifiers of the pending responses (C-FIND).

        Raises
        ------
        PeerError
            The peer refused, with its own comment.
        """
        with PeerConnection(self, [build_context(model)]) as association:
            for status, response in association.send_c_find(identifier, model):
                code = status.get("Status")
                if code in PENDING and response is not None:
                    yield response
                elif code != Status.SUCCESS:
                    comment = printable(str(status.get("ErrorComment", "no comment")))
                    raise PeerError(f"{self} refused: {comment}" + (f" (status {code:04X})" if code else ""))

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


def send_at_once(event: Event) -> None:
    """Turn Nagle's algorithm off: the data set must not wait until the command before it is acknowledged."""
    wrapped = event.assoc.dul.socket
    if wrapped is not None and wrapped.socket is not None:
        wrapped.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class _Entity(AE):
    """An application entity that closes the socket of an association that did not come about: pynetdicom may not."""

    connection: socket.socket | None = None

    def _create_socket(self, assoc: Association, *arguments: Any) -> Any:
        wrapped = super()._create_socket(assoc, *arguments)
        self.connection = wrapped.socket
        return wrapped

    def close(self) -> None:
        """Close the socket."""
        if self.connection is not None:
            self.connection.close()


class PeerConnection:
    """An association that is released in the end, used in a `with` block.

    Parameters
    ----------
    handlers
        Pairs of a pynetdicom event and its handler, for what the peer requests meanwhile.
    roles
        Role selections to propose.

    Raises
    ------
    PeerError
        From the start of the block: the peer does not answer, or rejects the association.
    """

    def __init__(
        self,
        peer: Peer,
        contexts: list[PresentationContext],
        handlers: Sequence[Any] = (),
        roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    ) -> None:
        self.peer, self.contexts, self._handlers, self._roles = peer, contexts, handlers, roles

    def __enter__(self) -> Association:
        _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
        ae = _Entity(ae_title=self.peer.calling_ae_title)
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = TIMEOUT_S
        handlers: list[Any] = [(evt.EVT_CONN_OPEN, send_at_once), *self._handlers]
        address = (self.peer.host, self.peer.port)
        try:
            self.association = ae.associate(
                *address,
                self.contexts,
                self.peer.ae_title,
                max_pdu=self.peer.maximum_pdu_size,
                ext_neg=list(self._roles),
                evt_handlers=handlers,
                tls_args=self.peer.tls,
            )
        except socket.gaierror as error:
            raise PeerError(f"{self.peer}: no address is known for host {self.peer.host}: correct it") from error
        if not self.association.is_established:
            ae.close()
            reason = "rejected the association" if self.association.is_rejected else "does not answer"
            raise PeerError(f"{self.peer} {reason}: is the node running, and is this its AE title?")
        return self.association

    def __exit__(self, *exc: object) -> None:
        if self.association.is_established:
            self.association.release()


def _batches(paths: Iterable[Path], vault: Vault) -> Iterator[tuple[list[Path], list[PresentationContext]]]:
    """Batches of files, each with the presentation contexts that it needs, no more than one association has."""
    batch: list[Path] = []
    kinds: dict[tuple[UID, UID], None] = {}
    for path in paths:
        kind = _kind(path, vault)
        forms = dict.fromkeys([] if kind is None else _forms(*kind))
        if len(kinds | forms) > MAX_CONTEXTS:
            yield batch, [build_context(*needed) for needed in kinds]
            batch, kinds = [], {}
        kinds |= forms
        batch.append(path)
    if batch:
        yield batch, [build_context(*needed) for needed in kinds]


def _forms(sop_class: UID, syntax: UID) -> list[tuple[UID, UID]]:
    """SOP class with each transfer syntax in which a file of one can be sent: pynetdicom converts between two."""
    others = UNCOMPRESSED if syntax in UNCOMPRESSED else ()
    return [(sop_class, one) for one in dict.fromkeys((syntax, *others))]


def _kind(path: Path, vault: Vault) -> tuple[UID, UID] | None:
    """SOP class and transfer syntax of a file, None if it is no DICOM file."""
    try:
        with vault.open(path) as file:
            meta = dcmread(file, stop_before_pixels=True, specific_tags=["SOPClassUID"])
        return UID(meta.SOPClassUID), UID(meta.file_meta.TransferSyntaxUID)
    except Exception:  # whatever reading a file of anything raises
        return None

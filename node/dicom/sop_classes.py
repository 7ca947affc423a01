"""Which service a SOP class belongs to, and in which transfer syntaxes the node offers it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import lru_cache
from typing import Final

from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian
from pydicom.uid import ExplicitVRLittleEndian as Explicit
from pydicom.uid import ImplicitVRLittleEndian as Implicit
from pynetdicom import sop_class as tables
from pynetdicom.service_class import QueryRetrieveServiceClass

from node.dicom.private import SIMILARITY_FIND
from node.settings import Settings

VERIFICATION: Final = UID("1.2.840.10008.1.1")
PATIENT_ROOT_FIND: Final = UID("1.2.840.10008.5.1.4.1.2.1.1")
STUDY_ROOT_FIND: Final = UID("1.2.840.10008.5.1.4.1.2.2.1")
REPOSITORY_QUERY: Final = UID("1.2.840.10008.5.1.4.1.1.201.6")
FIND_CLASSES: Final = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND, REPOSITORY_QUERY, SIMILARITY_FIND)
PATIENT_ROOT_MOVE: Final = UID("1.2.840.10008.5.1.4.1.2.1.2")
STUDY_ROOT_MOVE: Final = UID("1.2.840.10008.5.1.4.1.2.2.2")
MOVE_CLASSES: Final = (STUDY_ROOT_MOVE, PATIENT_ROOT_MOVE)
PATIENT_ROOT_GET: Final = UID("1.2.840.10008.5.1.4.1.2.1.3")
STUDY_ROOT_GET: Final = UID("1.2.840.10008.5.1.4.1.2.2.3")
GET_CLASSES: Final = (STUDY_ROOT_GET, PATIENT_ROOT_GET)

AVAILABILITY_NOTIFICATION: Final = UID("1.2.840.10008.5.1.4.33")
STORAGE_COMMITMENT: Final = UID("1.2.840.10008.1.20.1")
"""Storage Commitment Push Model: the node is SCP for what it keeps, and SCU of destinations, whose reports it takes
over associations of theirs, too (PS3.4 J.3.3)."""

DICOM_ROOT: Final = "1.2.840.10008."
STORAGE_BRANCH: Final = "1.2.840.10008.5.1.4.1.1."
"""Below it lie the storage SOP classes of PS3.4 table B.5-1, retired ones and those of DICOS and DICONDE."""
OTHER_BRANCHES: Final = ("1.2.840.10008.5.1.4.1.1.200.", "1.2.840.10008.5.1.4.1.1.201.")
"""Below these lie also queries for protocols and inventories, and objects of no patient (PS3.4 annexes GG to KK)."""
RETIRED_STORAGE: Final = frozenset(
    {
        "1.2.840.10008.5.1.1.27",  # Stored Print
        "1.2.840.10008.5.1.1.29",  # Hardcopy Grayscale Image
        "1.2.840.10008.5.1.1.30",  # Hardcopy Color Image
        "1.2.840.10008.5.1.4.34.1",  # RT Beams Delivery Instruction, trial
    }
)
STORAGE_CLASSES: Final = frozenset(tables._STORAGE_CLASSES.values()) | RETIRED_STORAGE
"""Storage SOP classes of the standard by name: those outside the branch cannot be recognized by their UID."""
SYNTAX: Final = re.compile(r"[0-9]+(\.[0-9]+)+")
MAX_UID_LENGTH: Final = 64  # PS3.5 section 9.1

tables.register_uid(SIMILARITY_FIND, "LookalikeSimilarityFind", QueryRetrieveServiceClass, "C-FIND")


class Extension(IntEnum):
    """Behaviour of C-FIND that is negotiated; the number is the index of its byte (PS3.4 table C.5-1)."""

    RELATIONAL_QUERIES = 0
    DATE_TIME_MATCHING = 1
    FUZZY_NAME_MATCHING = 2
    TIME_ZONE_ADJUSTMENT = 3
    MULTI_FRAME_CONVERSION = 4
    EMPTY_VALUE_MATCHING = 5
    MULTIPLE_VALUE_MATCHING = 6


SUPPORTED_EXTENSIONS: Final = frozenset(
    {
        Extension.RELATIONAL_QUERIES,
        Extension.DATE_TIME_MATCHING,
        Extension.EMPTY_VALUE_MATCHING,
        Extension.MULTIPLE_VALUE_MATCHING,
    }
)


class Service(Enum):
    """A service whose requests the node answers: as SCP, but for reports of storage commitment."""

    VERIFICATION = "verification"
    FIND = "find"
    MOVE = "move"
    GET = "get"
    AVAILABILITY = "availability"
    COMMITMENT = "commitment"
    STORAGE = "storage"


@dataclass(frozen=True, slots=True)
class OfferCondition:
    """A setting that decides whether a service is offered.

    Attributes
    ----------
    setting
        Name of the setting.
    values
        Values of the setting with which the service is offered; none: any value but an empty one.
    words
        The condition in words, where it is one of several settings.
    """

    setting: str
    values: tuple[str, ...] = ()
    words: str = ""

    def holds(self, settings: Settings) -> bool:
        """True if the service is offered under these settings."""
        value = getattr(settings, self.setting)
        return value in self.values if self.values else bool(value)

    def __str__(self) -> str:
        return self.words or f"`{self.setting}` is {' or '.join(self.values) or 'set'}"


ASK: Final = frozenset({Service.VERIFICATION, Service.STORAGE})
"""Services of the AE title under which received objects are questions."""
KEEPS_OBJECTS: Final = OfferCondition("retain", ("all",))
COMMITS: Final = OfferCondition(
    "keeps_for_good", words="`retain` is all and neither `object_days` nor `object_bytes` is set"
)
CONDITIONS: Final[Mapping[Service, tuple[OfferCondition, ...]]] = {
    Service.MOVE: (OfferCondition("source_peer"), KEEPS_OBJECTS),
    Service.GET: (OfferCondition("source_peer"), KEEPS_OBJECTS),
    Service.COMMITMENT: (
        COMMITS,
        OfferCondition("answers_questions", words="`source_peer`, or `answers_to` of a peer, is set"),
    ),
}
"""Conditions of which one must hold for a service to be offered; services that are not named here always are."""


def offered_services(settings: Settings) -> frozenset[Service]:
    """Services that the node offers as SCP under its settings."""
    return frozenset(
        service
        for service in Service
        if service not in CONDITIONS or any(condition.holds(settings) for condition in CONDITIONS[service])
    )


TRANSFER_SYNTAXES: Final = {
    Service.VERIFICATION: (Implicit, Explicit, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian),
    Service.FIND: (Explicit, Implicit),
    Service.MOVE: (Explicit, Implicit),
    Service.GET: (Explicit, Implicit),
    Service.AVAILABILITY: (Explicit, Implicit),
    Service.COMMITMENT: (Explicit, Implicit),
}
"""What is accepted, in order of preference; for storage it is whichever the sender proposes first."""
SERVICES: Final = {
    VERIFICATION: Service.VERIFICATION,
    **dict.fromkeys(FIND_CLASSES, Service.FIND),
    **dict.fromkeys(MOVE_CLASSES, Service.MOVE),
    **dict.fromkeys(GET_CLASSES, Service.GET),
    AVAILABILITY_NOTIFICATION: Service.AVAILABILITY,
    STORAGE_COMMITMENT: Service.COMMITMENT,
}
"""Service of each SOP class that is not one of storage."""


@lru_cache(maxsize=1024)
def service_of(sop_class_uid: str, *, accept_unknown: bool = True) -> Service | None:
    """The service through which the node serves a SOP class, None if it never does.

    Parameters
    ----------
    accept_unknown
        True to take a UID that is not of the DICOM standard as a storage class: vendors have private ones.
    """
    if len(sop_class_uid) > MAX_UID_LENGTH or not SYNTAX.fullmatch(sop_class_uid):
        return None
    if sop_class_uid in SERVICES:
        return SERVICES[UID(sop_class_uid)]
    if sop_class_uid in STORAGE_CLASSES:
        return Service.STORAGE
    if sop_class_uid.startswith(DICOM_ROOT):  # a class of a later edition: its branch tells storage from services
        is_storage = sop_class_uid.startswith(STORAGE_BRANCH) and not sop_class_uid.startswith(OTHER_BRANCHES)
        return Service.STORAGE if is_storage else None
    return Service.STORAGE if accept_unknown else None


def choose_transfer_syntax(service: Service, proposed: Sequence[str]) -> str | None:
    """The transfer syntax that a presentation context is accepted with, None if no proposed one is usable."""
    if service is Service.STORAGE:
        return proposed[0] if proposed else None
    return next((syntax for syntax in TRANSFER_SYNTAXES[service] if syntax in proposed), None)


def accepted_extensions(proposed: bytes) -> frozenset[Extension]:
    """Extensions that are both proposed for a FIND class and supported.

    Parameters
    ----------
    proposed
        Service class application information of the requestor: a byte for each extension, as many as it knows.
    """
    return frozenset(one for one in SUPPORTED_EXTENSIONS if one < len(proposed) and proposed[one] == 1)

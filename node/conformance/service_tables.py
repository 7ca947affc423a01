"""Tables of SOP classes, transfer syntaxes and negotiation for the conformance statement."""

from collections.abc import Iterable, Iterator
from typing import Final

from pydicom._uid_dict import UID_dictionary as UIDS
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, AllTransferSyntaxes
from pynetdicom import sop_class as tables

from hashing.images.frames import DECODER_ORDER
from node.conformance.markdown import markdown_table
from node.dicom.private import SIMILARITY_FIND
from node.dicom.sop_classes import (
    COMMITS,
    CONDITIONS,
    FIND_CLASSES,
    GET_CLASSES,
    MOVE_CLASSES,
    SERVICES,
    STORAGE_CLASSES,
    STORAGE_COMMITMENT,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
    SUPPORTED_EXTENSIONS,
    TRANSFER_SYNTAXES,
    VERIFICATION,
    Extension,
    Service,
    service_of,
)

NAMES: Final = {SIMILARITY_FIND: "Lookalike Similarity Query - FIND"}
"""Names of our own SOP classes."""
ANY_STORAGE: Final = "storage SOP classes of section 9.4, and private ones"
PREFERRED_BY_SENDER: Final = "the first that the sender proposes"
RESULT_CLASSES: Final = (
    UID("1.2.840.10008.5.1.4.1.1.88.34"),
    UID("1.2.840.10008.5.1.4.1.1.88.33"),
    UID("1.2.840.10008.5.1.4.1.1.7"),
    UID("1.2.840.10008.5.1.4.1.1.88.59"),
    STORAGE_COMMITMENT,
)
"""SOP classes of answers to questions that were sent, and Storage Commitment."""
INITIATIONS: Final = (
    ("`lookalike check`", (VERIFICATION, *FIND_CLASSES, *MOVE_CLASSES, *GET_CLASSES), "proposed, C-ECHO only"),
    ("`lookalike send`", (), "storage SOP classes of the files, in their transfer syntaxes"),
    ("`lookalike similar --server`", (STUDY_ROOT_FIND,), "query by example"),
    ("C-MOVE of a caller", MOVE_CLASSES, "to `source_peer`, for what is not kept here"),
    (
        "C-MOVE of kept objects",
        (),
        "storage SOP classes of the objects, to the destination, in their transfer syntaxes, and in Explicit and "
        "Implicit VR Little Endian if they are in one of these",
    ),
    (
        "C-GET of a caller",
        GET_CLASSES,
        "to `source_peer`, for what is not kept here, with the storage SOP classes of the caller (SCP role)",
    ),
    (
        "unknown example of a query",
        (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE),
        "to `source_peer`, if `fetch_missing_example` is set; with the storage SOP class of the example (SCP role)",
    ),
    (
        "image that a question refers to",
        (STUDY_ROOT_FIND, STUDY_ROOT_GET),
        "to `source_peer`, if the image is not indexed, or its original pixels are needed",
    ),
    (
        "job of the role `pull`",
        (STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE),
        "to the `source` of the job: C-FIND at every level, and C-GET with the storage SOP classes listed (SCP role), "
        "or C-MOVE to `ae_title`",
    ),
    ("report of storage commitment", (STORAGE_COMMITMENT,), "to the requester, by its entry in `peers` (SCP role)"),
    ("answer to a question", RESULT_CLASSES, "to `answers_to` of the caller, or else `source_peer`"),
)
"""Activities for which the node requests associations: their SOP classes, and remarks."""


def sop_class_name(sop_class_uid: str) -> str:
    """Name of a SOP class as in PS3.6 annex A, without "Information Model" and "SOP Class"."""
    name = NAMES.get(UID(sop_class_uid)) or UIDS.get(sop_class_uid, ("",))[0] or _by_keyword().get(sop_class_uid, "")
    return name.replace(" Information Model", "").removesuffix(" SOP Class").removesuffix(" (Retired)")


def storage_classes() -> list[str]:
    """UIDs of the storage SOP classes of the standard that the node accepts, in ascending order of their names."""
    known = {uid for uid in UIDS if service_of(uid) is Service.STORAGE} | set(STORAGE_CLASSES)
    return sorted(known, key=lambda uid: (sop_class_name(uid).lower(), uid))


def condition(service: Service) -> str:
    """Condition under which a service is offered, as a text; empty if it always is."""
    return " or ".join(map(str, CONDITIONS.get(service, ())))


def acceptance_table() -> str:
    """Presentation contexts that the node accepts as SCP: SOP class, transfer syntaxes, extended negotiation."""
    header = ("SOP class", "UID", "role", "transfer syntaxes, preferred first", "extended negotiation", "offered if")
    rows = [
        (
            sop_class_name(uid), uid, "SCP, SCU" if service is Service.COMMITMENT else "SCP",
            _syntaxes(TRANSFER_SYNTAXES[service]),
            "yes" if uid in FIND_CLASSES else "none", condition(service),
        )
        for uid, service in SERVICES.items()
    ]  # fmt: skip
    return markdown_table(header, [*rows, (ANY_STORAGE, "", "SCP", PREFERRED_BY_SENDER, "none", "")])


def overview_table() -> str:
    """Services by SOP class, with the roles of user (SCU) and provider (SCP)."""
    used = {uid for _, uids, _ in INITIATIONS for uid in uids}
    rows = [
        (
            sop_class_name(uid),
            "yes" if uid in used else "no",
            _provided(service),
        )
        for uid, service in SERVICES.items()
    ]
    return markdown_table(("SOP class", "user (SCU)", "provider (SCP)"), [*rows, (ANY_STORAGE, "yes", "yes")])


def _provided(service: Service) -> str:
    """Whether the node is SCP of a service; of storage commitment only where it keeps objects."""
    text = str(COMMITS) if service is Service.COMMITMENT else condition(service)
    return f"yes, if {text}" if text else "yes"


def initiation_table() -> str:
    """Activities for which the node requests an association, with the SOP classes that it proposes as SCU."""
    rows = ((activity, ", ".join(map(sop_class_name, uids)), remark) for activity, uids, remark in INITIATIONS)
    return markdown_table(("activity", "SOP classes (SCU)", "remark"), rows)


def extension_table() -> str:
    """Extended negotiation of FIND classes: the answer to each field that a peer proposes."""
    rows = (
        (int(extension), extension.name.replace("_", " ").lower(), int(extension in SUPPORTED_EXTENSIONS))
        for extension in Extension
    )
    return markdown_table(("byte", "behaviour", "answer where proposed"), rows)


def transfer_syntax_table() -> str:
    """Transfer syntaxes of the standard whose pixels the node decodes."""
    rows = [(syntax.name, syntax) for syntax in AllTransferSyntaxes if _is_decoded(syntax)]
    return markdown_table(("transfer syntax", "UID"), rows)


def storage_table() -> str:
    """Storage SOP classes of the standard that the node accepts, by name."""
    rows = ((sop_class_name(uid), uid, "retired" if _is_retired(uid) else "") for uid in storage_classes())
    return markdown_table(("SOP class", "UID", "state"), rows)


def _syntaxes(syntaxes: Iterable[UID]) -> str:
    return ", ".join(syntax.name for syntax in syntaxes)


def _is_decoded(syntax: UID) -> bool:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        return False
    return not decoder.is_encapsulated or any(plugin in decoder.available_plugins for plugin in DECODER_ORDER)


def _is_retired(sop_class_uid: str) -> bool:
    return sop_class_uid in UIDS and UIDS[sop_class_uid][3] == "Retired"


def _by_keyword() -> dict[str, str]:
    """Names from the tables of pynetdicom, which know classes that pydicom's dictionary lacks."""
    return dict(_keywords())


def _keywords() -> Iterator[tuple[str, str]]:
    for keyword, uid in tables._STORAGE_CLASSES.items():
        words = "".join(f" {character}" if character.isupper() else character for character in keyword)
        yield uid, words.strip()

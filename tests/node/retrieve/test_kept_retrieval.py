"""With `retain = "all"` the node sends its own objects: C-MOVE and C-GET need no PACS behind it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)
from pynetdicom import AE, build_context, build_role, evt

from node.dicom.private import Element
from node.home import open_objects
from storage.corrections.rejecting import RejectionNote, reject, restore
from storage.database.rejections import Title
from tests.support.dicom.answering import Node, answering_node
from tests.support.dicom.archive import identifier
from tests.support.dicom.kept import KEEPING, images, items, keep
from tests.support.peers.pacs import (
    GET,
    MOVE,
    PATIENT_GET,
    PATIENT_MOVE,
    STUDY,
    Pacs,
    counts,
    destination,
    numbered,
    peers,
    running_pacs,
    study,
)
from tests.support.running import free_port

COUNT = 4
SC = SecondaryCaptureImageStorage


@dataclass
class Site:
    """A node that keeps objects, and what the destination VIEW received."""

    node: Node
    moved: list[str] = field(default_factory=list)
    got: dict[str, Dataset] = field(default_factory=dict)

    def move(self, request: Dataset, to: str = "VIEW", model: UID = MOVE) -> list[tuple[Dataset, Dataset | None]]:
        association = self.node.associate(model)
        responses = list(association.send_c_move(request, to, model))
        association.release()
        return responses

    def get(
        self,
        request: Dataset,
        model: UID = GET,
        syntax: UID = ExplicitVRLittleEndian,
        store: Callable[[Any], int] = lambda _: 0,
        cancel_at: int | None = None,
    ) -> list[tuple[Dataset, Dataset | None]]:
        def take(event: Any) -> int:
            self.got[event.request.AffectedSOPInstanceUID] = event.dataset
            return store(event)

        ae, settings = AE("CLIENT"), self.node.settings
        contexts, roles = (
            [build_context(model), build_context(SC, syntax)],
            cast("Any", [build_role(SC, scp_role=True)]),
        )
        handlers: list[Any] = [(evt.EVT_C_STORE, take)]
        association = ae.associate(
            settings.host, settings.port, contexts, "LOOKALIKE", ext_neg=roles, evt_handlers=handlers
        )
        responses = []
        for number, response in enumerate(association.send_c_get(request, model, msg_id=7)):
            responses.append(response)
            if number == cancel_at:
                association.send_c_cancel(7, query_model=model)
        assert association.is_established
        association.release()
        return responses


@contextmanager
def running_site(home: Path, datasets: list[Dataset], **chosen: Any) -> Iterator[Site]:
    with ExitStack() as stack:
        moved: list[str] = []
        table = peers(1, stack.enter_context(destination(moved))) | {"source_peer": ""} | KEEPING | chosen
        yield Site(stack.enter_context(answering_node(home, items=items(datasets), **table)), moved)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("site") / "home", images(COUNT)) as site:
        keep(site.node.settings, images(COUNT))
        yield site


@pytest.fixture
def site(shared: Site) -> Site:
    shared.moved.clear()
    shared.got.clear()
    return shared


def attributes(dataset: Dataset) -> dict[str, Any]:  # Implicit VR tells no VR of the pixels
    return {element.keyword: element.value for element in dataset}


EVERY = [f"2.25.9.1.{number}" for number in range(COUNT)]
PATIENT = Dataset()
PATIENT.QueryRetrieveLevel, PATIENT.PatientID = "PATIENT", "P1"
EXAMPLE = {Element.EXAMPLE_SOP_INSTANCE_UID: EVERY[0]}
TWO = study(QueryRetrieveLevel="IMAGE", SOPInstanceUID="\\".join(EVERY[1:3]))
SERIES = study(QueryRetrieveLevel="SERIES", SeriesInstanceUID="2.25.9.1")
REQUESTS = [(study(), False, EVERY), (SERIES, False, EVERY), (TWO, False, EVERY[1:3]), (PATIENT, True, EVERY)]
IDS = ["study", "series", "two images", "patient"]


@pytest.mark.parametrize(("request_", "patient_root", "expected"), REQUESTS, ids=IDS)
def test_what_a_request_names_is_moved_and_counted(
    site: Site, request_: Dataset, patient_root: bool, expected: list[str]
) -> None:
    responses = site.move(request_, model=PATIENT_MOVE if patient_root else MOVE)

    total = len(expected)
    assert [counts(status) for status, _ in responses] == [
        *((0xFF00, number, 0, 0, total - number) for number in range(1, total + 1)),
        (0x0000, total, 0, 0, None),
    ]
    assert sorted(site.moved) == expected


@pytest.mark.parametrize(("request_", "patient_root", "expected"), REQUESTS, ids=IDS)
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_what_a_request_names_arrives_on_the_caller_s_association(
    site: Site, request_: Dataset, patient_root: bool, expected: list[str], syntax: UID
) -> None:
    *pending, (last, _) = site.get(request_, PATIENT_GET if patient_root else GET, syntax)

    assert (len(pending), counts(last)) == (len(expected), (0x0000, len(expected), 0, 0, None))
    assert sorted(site.got) == expected
    assert all(attributes(found) == attributes(numbered(int(uid[-1]))) for uid, found in site.got.items())


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"QueryRetrieveLevel": "PATIENT"}, 0xA900),
        ({"QueryRetrieveLevel": ""}, 0xA900),
        ({"QueryRetrieveLevel": "SERIES"}, 0xA900),
        ({"StudyInstanceUID": "2.25.*"}, 0xA900),
        ({"StudyInstanceUID": ""}, 0xA900),
        ({"StudyInstanceUID": "2.25.404"}, 0x0000),
    ],
)
def test_a_request_that_names_nothing_is_refused_and_one_of_nothing_succeeds(
    site: Site, changes: dict[str, str], status: int
) -> None:
    for retrieve in (site.move, site.get):
        [(response, _)] = retrieve(study(**changes))

        assert response.Status == status
        assert response.get("NumberOfCompletedSuboperations") in (None, 0)


def test_images_go_only_to_a_destination_that_the_settings_allow(site: Site) -> None:
    assert [status.Status for status, _ in site.move(study(), to="SECRET")] == [0xA801]
    assert site.moved == []


def test_a_rejected_image_is_not_sent_and_a_restored_one_is(site: Site) -> None:
    database = site.node.finder.database
    reject(database, RejectionNote("2.25.8", Title.QUALITY, {EVERY[0]: STUDY}, 1 << 60))
    site.get(study())
    site.move(study())
    assert (sorted(site.got), sorted(site.moved)) == (EVERY[1:], EVERY[1:])

    restore(database, EVERY[0])

    site.get(study())
    assert sorted(site.got) == EVERY


def test_what_the_caller_refuses_is_named(site: Site) -> None:
    def refuse(event: Any) -> int:
        return 0xA700 if event.request.AffectedSOPInstanceUID == EVERY[1] else 0

    *_, (status, identifier) = site.get(study(), store=refuse)

    assert counts(status) == (0xB000, COUNT - 1, 1, 0, None)
    assert identifier is not None
    assert identifier.FailedSOPInstanceUIDList == EVERY[1]


def test_a_cancel_half_way_ends_a_get(site: Site) -> None:
    *_, (status, _) = site.get(study(), cancel_at=1)

    assert status.Status == 0xFE00
    assert status.NumberOfCompletedSuboperations + status.NumberOfRemainingSuboperations == COUNT
    assert 2 <= len(site.got) < COUNT


def test_a_dead_destination_fails_every_sub_operation(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = site.node.settings.peers["VIEW"].model_copy(update={"port": free_port()})
    monkeypatch.setitem(site.node.settings.peers, "VIEW", peer)

    [(status, _)] = site.move(study())

    assert counts(status) == (0xA702, 0, COUNT, 0, None)
    assert "does not answer" in status.ErrorComment


def test_what_can_be_converted_is_and_what_cannot_fails_alone(tmp_path: Path) -> None:
    datasets = images(COUNT)
    datasets[3].SOPClassUID = MRImageStorage
    with running_site(tmp_path / "home", datasets) as site:
        for dataset, syntax in zip(datasets[:3], [ImplicitVRLittleEndian, JPEG2000Lossless, None], strict=True):
            if syntax:
                keep(site.node.settings, [dataset], syntax)
        keep(site.node.settings, datasets[3:])

        *_, (got, identifier) = site.get(study())
        *_, (moved, _) = site.move(study())

    assert [attributes(found) for found in site.got.values()] == [attributes(numbered(0))]
    assert counts(got) == (0xB000, 1, 3, 0, None)
    assert identifier is not None
    assert sorted(identifier.FailedSOPInstanceUIDList) == EVERY[1:]  # compressed, not kept, of another class
    assert counts(moved)[0] == 0xB000
    assert site.moved == [EVERY[0]]


def test_pixels_of_big_endian_objects_are_never_sent_in_another_order(tmp_path: Path) -> None:
    with running_site(tmp_path / "home", images(1)) as site:
        keep(site.node.settings, images(1), ExplicitVRBigEndian)

        *_, (status, _) = site.get(study())

    assert (counts(status)[0], site.got) == (0xA702, {})


@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
def test_what_is_kept_is_online_here(site: Site, level: str) -> None:
    request = identifier(level, StudyInstanceUID=STUDY, InstanceAvailability="", RetrieveAETitle="")

    for found in site.node.found(request):
        assert (found.InstanceAvailability, found.RetrieveAETitle) == ("ONLINE", "LOOKALIKE")

    asked = site.node.ask(identifier(level, StudyInstanceUID=STUDY, InstanceAvailability="ONLINE"))
    assert [status.Status for status in asked[0]] == [0xFF01] * len(asked[1]) + [0]  # not matched


@pytest.mark.parametrize(("source", "elsewhere"), [("PACS", "NEARLINE"), ("", "UNAVAILABLE")])
def test_what_is_not_kept_is_where_the_source_pacs_has_it(tmp_path: Path, source: str, elsewhere: str) -> None:
    with running_site(tmp_path / "home", images(2), source_peer=source) as site:
        keep(site.node.settings, images(1))
        by_level = {
            level: [
                found.InstanceAvailability
                for found in site.node.found(identifier(level, StudyInstanceUID="", InstanceAvailability=""))
            ]
            for level in ("IMAGE", "STUDY")
        }
        request = identifier("IMAGE", EXAMPLE, StudyInstanceUID=STUDY, InstanceAvailability="")
        alike = [found.InstanceAvailability for found in site.node.found(request)]

    assert by_level == {"IMAGE": ["ONLINE", elsewhere], "STUDY": [elsewhere]}
    assert alike == [elsewhere]


def test_the_source_pacs_sends_what_is_not_kept(tmp_path: Path) -> None:
    moved: list[str] = []
    with destination(moved) as view, running_pacs(Pacs(images(COUNT), destinations={"VIEW": view})) as pacs:
        chosen = peers(pacs.port, view) | KEEPING
        with answering_node(tmp_path / "home", items=items(images(COUNT)), **chosen) as node:
            site = Site(node, moved)
            keep(node.settings, images(COUNT - 1))
            site.move(study())
            site.get(study())
            assert [model for model, _ in pacs.seen] == [MOVE, GET]
            keep(node.settings, images(COUNT))

            site.move(study())
            site.get(study())

    assert len(pacs.seen) == 2
    assert sorted(moved) == sorted(EVERY * 2)
    assert sorted(site.got) == EVERY
    assert open_objects(node.settings).usage().objects == COUNT

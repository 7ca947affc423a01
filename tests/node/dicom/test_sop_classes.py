"""Which SOP classes are stored, and which are services that the node does not offer."""

import pytest
from pydicom._uid_dict import UID_dictionary as NAMES
from pydicom.uid import UID
from pynetdicom import sop_class as tables

from node.dicom.sop_classes import FIND_CLASSES, SERVICES, VERIFICATION, Service, choose_transfer_syntax, service_of

OFFERED = set(SERVICES)
STORAGE = sorted(set(tables._STORAGE_CLASSES.values()))
OTHER = sorted(
    {
        uid
        for name, table in vars(tables).items()
        if name.endswith("_CLASSES")
        and isinstance(table, dict)
        and name not in ("_STORAGE_CLASSES", "_SERVICE_CLASSES")
        for uid in table.values()
    }
    - OFFERED
)
RETIRED = ["1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.9", "1.2.840.10008.5.1.1.29"]


@pytest.mark.parametrize("uid", STORAGE)
def test_each_storage_class_of_the_standard_is_stored(uid: str) -> None:
    assert service_of(uid, accept_unknown=False) is Service.STORAGE


@pytest.mark.parametrize("uid", OTHER)
def test_no_other_service_of_the_standard_is_taken_for_storage(uid: str) -> None:
    assert service_of(uid) is None


def test_of_all_names_of_the_standard_only_storage_is_stored() -> None:
    stored = {uid: NAMES[uid][0] for uid in NAMES if service_of(uid) is Service.STORAGE}

    assert all("Storage" in name or not name for name in stored.values()), stored
    assert len(stored) > 150


@pytest.mark.parametrize("uid", [*RETIRED, "1.2.840.10008.5.1.4.1.1.501.1", "1.2.840.10008.5.1.4.1.1.9999"])
def test_retired_and_future_storage_classes_are_stored(uid: str) -> None:
    assert service_of(uid) is Service.STORAGE


@pytest.mark.parametrize("uid", ["1.2.840.10008.9999.1", "1.2.840.10008.5.1.4.1.2.9.1", "1.2.840.10008.1.20.2"])
def test_unknown_classes_of_the_standard_outside_storage_are_services(uid: str) -> None:
    assert service_of(uid) is None


def test_a_private_class_is_stored_if_the_setting_allows() -> None:
    assert service_of("1.3.12.2.1107.5.9.1") is Service.STORAGE
    assert service_of("1.3.12.2.1107.5.9.1", accept_unknown=False) is None


@pytest.mark.parametrize("text", ["", "?", "1", "1..2", "x.y", "1.2.3 ", "1." * 40 + "1", "../1.2"])
def test_what_is_no_uid_is_no_class(text: str) -> None:
    assert service_of(text) is None


def test_queries_are_their_own_service() -> None:
    assert {service_of(uid) for uid in FIND_CLASSES} == {Service.FIND}
    assert service_of(VERIFICATION) is Service.VERIFICATION


@pytest.mark.parametrize(
    ("service", "proposed", "chosen"),
    [
        (Service.STORAGE, ["1.2.3.4", "1.2.840.10008.1.2"], "1.2.3.4"),
        (Service.STORAGE, [], None),
        (Service.FIND, ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"], "1.2.840.10008.1.2.1"),
        (Service.FIND, ["1.2.840.10008.1.2.4.50"], None),
        (Service.VERIFICATION, ["1.2.840.10008.1.2.1.99"], "1.2.840.10008.1.2.1.99"),
    ],
)
def test_the_transfer_syntax_is_the_first_that_can_be_used(
    service: Service, proposed: list[str], chosen: str | None
) -> None:
    syntax = choose_transfer_syntax(service, proposed)

    assert syntax == (None if chosen is None else UID(chosen))

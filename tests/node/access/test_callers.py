"""Who is known, by AE title, address and certificate, and what each may do."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from node.access.audit_trail import AuditTrail
from node.access.callers import NOBODY, OWN_PROGRAMS, Caller, Callers, Origin, has_right_by_title
from node.access.logins import UnknownCallerError
from node.access.rates import RateLimits
from node.errors import Refusal, Status
from node.options.access import CallerEntry, Disclosure, Right
from node.options.certificate_names import peer_attributes, subject_attributes
from node.settings import Settings

HERE, CT = "127.0.0.1", "10.1.2.3"
CT_SUBJECT = peer_attributes(((("organizationName", "Hospital"),), (("commonName", "ct1"),)))
ENTRIES: dict[str, Any] = {
    "ct": {"ae_titles": ["CT1"], "networks": ["10.1.0.0/16"], "rights": ["store"]},
    "ct over TLS": {
        "ae_titles": ["CT1"],
        "networks": ["10.1.0.0/16"],
        "certificate": "CN=ct1,O=Hospital",
        "rights": ["store", "find"],
    },
    "viewer": {"web": True, "networks": ["10.1.9.0/24"], "rights": ["similar"], "disclosure": "BLIND"},
}


def callers(tmp_path: Path, **entries: Any) -> Callers:
    settings = Settings(home=tmp_path, callers=entries)
    return Callers(settings, AuditTrail(settings, "test"))


@pytest.mark.parametrize(
    ("title", "origin", "name"),
    [
        ("CT1", Origin(CT), "ct"),
        ("CT1", Origin(f"::ffff:{CT}"), "ct"),
        ("CT1", Origin(CT, CT_SUBJECT), "ct over TLS"),
        ("CT1", Origin(CT, subject_attributes("CN=other,O=Hospital")), "ct"),
        ("CT1", Origin(HERE, CT_SUBJECT), None),
        ("CT1", Origin(""), None),
        ("CT2", Origin(CT), None),
        ("viewer", Origin("10.1.9.1"), None),
    ],
)
def test_a_caller_of_dicom_is_known_by_title_address_and_certificate(
    tmp_path: Path, title: str, origin: Origin, name: str | None
) -> None:
    known = callers(tmp_path, **ENTRIES)

    if name is None:
        with pytest.raises(UnknownCallerError):
            known.of_association(title, origin)
    else:
        assert known.of_association(title, origin).name == name


def test_an_entry_with_a_certificate_admits_nobody_without_it(tmp_path: Path) -> None:
    known = callers(tmp_path, ct=ENTRIES["ct over TLS"])

    assert known.of_association("CT1", Origin(CT, CT_SUBJECT)).rights == {Right.STORE, Right.FIND}
    for certificate in (None, (), CT_SUBJECT[:1], (*CT_SUBJECT, ("OU", "x"))):
        with pytest.raises(UnknownCallerError):
            known.of_association("CT1", Origin(CT, certificate))


def test_a_web_client_is_known_by_its_address_where_the_entry_says_so(tmp_path: Path) -> None:
    known = callers(tmp_path, **ENTRIES)

    assert known.of_request(Origin("10.1.9.4")) == Caller("viewer", frozenset({Right.SIMILAR}), Disclosure.BLIND)
    for address in (CT, HERE, "", "somewhere"):
        with pytest.raises(UnknownCallerError):
            known.of_request(Origin(address))


def test_without_entries_programs_of_this_machine_may_do_everything_and_others_nothing(tmp_path: Path) -> None:
    known = callers(tmp_path)

    assert known.of_association("ANY", Origin(HERE)) == known.of_request(Origin("::1")) == OWN_PROGRAMS
    with pytest.raises(UnknownCallerError):
        known.of_association("ANY", Origin(CT))
    with pytest.raises(UnknownCallerError):
        known.of_request(Origin(CT))


def test_the_node_may_send_itself_an_echo_and_nothing_else(tmp_path: Path) -> None:
    known = callers(tmp_path, **ENTRIES)

    assert known.of_association("LOOKALIKE", Origin(HERE)) == NOBODY
    with pytest.raises(UnknownCallerError):
        known.of_association("LOOKALIKE", Origin(CT))


def test_a_missing_right_is_refused_in_words(tmp_path: Path) -> None:
    caller = callers(tmp_path, **ENTRIES).of_association("CT1", Origin(CT))

    caller.begin(Right.STORE)
    with pytest.raises(Refusal, match="find or similar: this caller has not the right to") as refused:
        caller.begin(Right.FIND, Right.SIMILAR)
    assert refused.value.status == Status.NOT_AUTHORIZED


def test_a_right_by_title_is_that_of_every_entry_with_the_title(tmp_path: Path) -> None:
    one = {"ae_titles": ["PACS"], "rights": ["store", "admin"]}
    other = {"ae_titles": ["PACS"], "networks": ["10.0.0.0/8"], "rights": ["store"]}

    def has(**entries: Any) -> bool:
        return has_right_by_title(Settings(home=tmp_path, callers=entries), "PACS", Right.ADMIN)

    assert (has(), has(one=one), has(one=one, other=other), has(ct=ENTRIES["ct"])) == (True, True, False, False)


def take(path: Path, limit: int) -> int:
    limits = RateLimits(path, {"b": 1, "a": limit})
    return sum(limits.take("a") for _ in range(limit))


def test_requests_within_a_minute_are_counted_for_all_processes_together(tmp_path: Path) -> None:
    path, limit = tmp_path / "rates", 40
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        taken = pool.starmap(take, [(path, limit)] * 2)

    limits = RateLimits(path, {"a": limit, "b": 1})

    assert limit <= sum(taken) <= limit + 20  # it fills up again meanwhile, one each 1.5 s
    assert [limits.take("b") for _ in range(2)] == [True, False]


def test_the_allowance_fills_up_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("node.access.rates.time.monotonic", lambda: clock[0])
    limits = RateLimits(tmp_path / "rates", {"a": 6})

    assert [limits.take("a") for _ in range(7)] == [True] * 6 + [False]
    clock[0] += 10
    assert [limits.take("a") for _ in range(2)] == [True, False]
    clock[0] = 5  # the machine was started again
    assert limits.take("a")


@pytest.mark.parametrize(
    "field",
    [
        {"networks": ["10.1.2.3/8"]},
        {"ae_titles": ["A\\B"]},
        {"rights": ["everything"]},
        {"disclosure": "ALL"},
        {"certificate": "ct1"},
        {"certificate": "CN="},
        {"right": ["store"]},
    ],
)
def test_an_entry_that_might_admit_more_than_is_meant_is_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="CallerEntry"):
        CallerEntry(**field)


def test_a_caller_may_do_nothing_and_comes_from_this_machine_unless_the_entry_says_otherwise() -> None:
    entry = CallerEntry()

    assert (entry.rights, entry.ae_titles, entry.web, entry.disclosure) == ((), (), False, Disclosure.MASKED)
    assert entry.networks == ("127.0.0.0/8", "::1/128")


def test_subjects_are_compared_whatever_the_order_of_their_attributes() -> None:
    assert subject_attributes("O=Smith\\, Sons, CN=ct1") == subject_attributes("CN=ct1,O=Smith\\, Sons")
    assert subject_attributes("O=Smith\\, Sons,CN=ct1") == (("CN", "ct1"), ("O", "Smith, Sons"))

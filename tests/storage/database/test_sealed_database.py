"""A sealed database tells what one in clear tells, and nothing to who has not the key."""

from pathlib import Path

import pytest

from storage.corrections.copying import rewrite_database, seal_database
from storage.corrections.erasing import ErasureTarget, erase
from storage.database.database import Database
from storage.database.lookup import Span
from storage.errors import StorageError
from storage.record import Level, patient_key
from storage.vault import CLEAR, SealError, Vault
from tests.formats import golden
from tests.support.storage.databases import MAP_SIZE, stored
from tests.support.storage.invented import item

VAULT = Vault(bytes(range(32)))
SECRETS = ("Planted^Person", "planted^person", "PLANTED-ID", "PLANTED-ACCESSION", "19010203")
PATIENT = {"PatientName": SECRETS[0], "PatientID": SECRETS[2], "PatientBirthDate": SECRETS[4]}


def planted(path: Path, vault: Vault) -> None:
    """A database of two patients, of whom one has a name, an ID, an accession number and a date of birth."""
    key = patient_key(SECRETS[2], "", "")
    study = {"AccessionNumber": SECRETS[3], "StudyDate": "20200101"}
    with Database.create_or_open(path, 64, "model", MAP_SIZE, vault=vault) as database:
        database.append([item(n, patient=PATIENT, patient_key=key, study=study) for n in range(4)])
        database.append([item(n) for n in range(8, 12)])


def found_in(path: Path) -> set[str]:
    octets = (path / "data.mdb").read_bytes().lower()
    return {secret for secret in SECRETS if secret.lower().encode() in octets}


def test_a_sealed_database_tells_what_one_in_clear_tells(tmp_path: Path) -> None:
    golden.fill(tmp_path / "clear")
    golden.fill(tmp_path / "sealed", VAULT)

    with Database.open(tmp_path / "clear") as clear, Database.open(tmp_path / "sealed", vault=VAULT) as sealed:
        assert sealed.verify() == []
        expected, told = golden.tell(clear), golden.tell(sealed)
    assert expected.pop("identifier") != told.pop("identifier")
    assert told == expected


def test_nothing_in_its_file_names_a_patient_or_shows_a_picture(tmp_path: Path) -> None:
    planted(tmp_path / "clear", CLEAR)
    planted(tmp_path / "sealed", VAULT)

    assert found_in(tmp_path / "clear") == {*SECRETS}
    assert b"\x89PNG" in (tmp_path / "clear/data.mdb").read_bytes()
    assert found_in(tmp_path / "sealed") == set()
    assert b"\x89PNG" not in (tmp_path / "sealed/data.mdb").read_bytes()


def test_without_its_key_it_is_not_opened(tmp_path: Path) -> None:
    planted(tmp_path, VAULT)

    for vault in (CLEAR, Vault(bytes(32))):
        with pytest.raises(SealError, match="another key"):
            Database.open(tmp_path, vault=vault)
        with pytest.raises(SealError):
            Database.create_or_open(tmp_path, 64, "model", MAP_SIZE, vault=vault)


def test_a_database_that_lay_in_clear_is_sealed_whole(tmp_path: Path) -> None:
    golden.fill(tmp_path)
    with Database.open(tmp_path) as database:
        expected = golden.tell(database)

    assert seal_database(tmp_path, VAULT, MAP_SIZE) > 100

    with Database.open(tmp_path, vault=VAULT, readonly=False) as database:
        assert database.verify() == []
        told = golden.tell(database)
        assert told.pop("identifier") != expected.pop("identifier")
        assert told == expected
        database.append([item(100, golden.CODE_LENGTH)])
        assert database.verify() == []
    assert "Müller".encode() not in (tmp_path / "data.mdb").read_bytes()
    assert not (tmp_path / "copy").exists()
    with pytest.raises(StorageError):
        seal_database(tmp_path, VAULT, MAP_SIZE)


def test_a_rewritten_database_holds_no_trace_of_what_was_erased(tmp_path: Path) -> None:
    planted(tmp_path, CLEAR)
    with Database.open(tmp_path, readonly=False) as database:
        erase(database, ErasureTarget(patient_id=SECRETS[2]))
        expected = stored(database)

    rewrite_database(tmp_path, MAP_SIZE)

    assert found_in(tmp_path) == set()
    with Database.open(tmp_path) as database:
        assert database.verify() == []
        assert stored(database) == expected


def test_a_part_of_a_name_and_an_id_are_found_in_it_and_gone_once_erased(tmp_path: Path) -> None:
    planted(tmp_path, VAULT)
    spans = (Span("planted", "planted"), Span("", piece="person"), Span("planted^person", is_single=True))

    with Database.open(tmp_path, readonly=False, vault=VAULT) as database:
        with database.snapshot() as snapshot:
            by_name = [snapshot.ordinals_within(Level.PATIENT, "PatientName", [span]) for span in spans]
            patients = snapshot.possible_patients(patient_key(SECRETS[2], "ANYWHERE", ""))
        assert by_name[0] == by_name[2] == [0]
        assert patients == {patient_key(SECRETS[2], issuer, "") for issuer in ("", "ANYWHERE")}
        assert erase(database, ErasureTarget(patient_id=SECRETS[2])).instances == 4
        assert database.verify() == []
        with database.snapshot() as snapshot:
            assert snapshot.ordinals_within(Level.PATIENT, "PatientName", spans) == []

"""Radiology reports that are kept beside the index, in SQLite: each with its study, its patient and its words."""

import json
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage.durable import create_private, make_private_folder, sync_folder, table_transaction
from storage.vault import CLEAR, SealError, Vault

SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS reports (
    uid TEXT PRIMARY KEY, study TEXT NOT NULL, date TEXT NOT NULL, is_sealed INTEGER NOT NULL, has_pdf INTEGER NOT NULL,
    words BLOB NOT NULL, pdf BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_study ON reports (study);
PRAGMA user_version = 1;
COMMIT;
"""
KEEP: Final = "REPLACE INTO reports VALUES (?, ?, ?, ?, ?, ?, ?)"
OF_STUDY: Final = """
SELECT uid, study, date, is_sealed, has_pdf, words, X'' FROM reports WHERE study = ? ORDER BY date DESC, uid DESC
"""
FIND: Final = "SELECT * FROM reports WHERE uid = ?"
ALL: Final = "SELECT uid, study, date, is_sealed, has_pdf, words, X'' FROM reports"
CLEAR_ONES: Final = "SELECT uid FROM reports WHERE is_sealed = 0"
ERASE: Final = "DELETE FROM reports WHERE uid IN (SELECT value FROM json_each(?))"
WORDS, PDF = "words of reports", "reports as PDF"
"""Purposes of sealed values."""
Row = tuple[str, str, str, int, int, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Report:
    """A report on a study.

    Attributes
    ----------
    patient
        As `storage.record.patient_key` makes it of the report's own Patient ID.
    title
        Meaning of its document title; may be empty.
    date
        Content Date, as yyyymmdd; may be empty.
    is_complete, is_verified
        As the document itself says.
    words
        Its text, one line an item; empty for a PDF.
    pdf
        The document, where it is a PDF and was asked for; empty otherwise.
    """

    sop_instance_uid: str
    study_instance_uid: str
    patient: str
    title: str
    date: str
    is_complete: bool
    is_verified: bool
    words: str
    pdf: bytes = b""
    has_pdf: bool = False


class ReportTable:
    """The table in a file; any number of processes read, and one writes.

    The first report makes folder and file. Each call opens and closes it: a connection belongs to one thread.

    Parameters
    ----------
    vault
        Seals what a report says; UIDs and date are readable.
    """

    def __init__(self, path: Path, vault: Vault = CLEAR) -> None:
        self._path, self._vault = path, vault

    def keep(self, reports: Sequence[Report]) -> None:
        """Keep reports, in the place of what was kept under their UIDs; durable when this returns."""
        if not reports:
            return
        if not self._path.exists():
            make_private_folder(self._path.parent)
            create_private(self._path)
            sync_folder(self._path.parent)
        with self._connected() as connection:
            connection.executemany(KEEP, map(self._row, reports))

    def of_study(self, study_instance_uid: str) -> list[Report]:
        """Reports on a study, the newest first, without the bytes of PDFs."""
        with self._connected() as connection:
            return [self._report(row) for row in connection.execute(OF_STUDY, (study_instance_uid,))]

    def find(self, sop_instance_uid: str) -> Report | None:
        """A report by its UID, None if it is not kept."""
        with self._connected() as connection:
            row = connection.execute(FIND, (sop_instance_uid,)).fetchone()
        return None if row is None else self._report(row)

    def erase(self, sop_instance_uids: Collection[str]) -> None:
        """Erase reports for good, as far as they are kept."""
        with self._connected() as connection:
            connection.execute(ERASE, (json.dumps(list(sop_instance_uids)),))

    def erase_where(self, is_meant: Callable[[str, str], bool]) -> int:
        """Erase the reports for whose study and patient a function is true; return how many."""
        with self._connected() as connection:
            reports = [self._report(row) for row in connection.execute(ALL)]
        uids = [one.sop_instance_uid for one in reports if is_meant(one.study_instance_uid, one.patient)]
        self.erase(uids)
        return len(uids)

    def seal(self) -> None:
        """Seal what was kept before there was a key."""
        with self._connected() as connection:
            uids = [uid for (uid,) in connection.execute(CLEAR_ONES)] if self._vault else []
        self.keep([report for uid in uids if (report := self.find(uid)) is not None])

    def _row(self, report: Report) -> Row:
        uid, place = report.sop_instance_uid, report.sop_instance_uid.encode()
        said = [report.patient, report.title, report.is_complete, report.is_verified, report.words]
        words = self._vault.seal(WORDS, place, json.dumps(said).encode())
        pdf = self._vault.seal(PDF, place, report.pdf) if report.pdf else b""
        return uid, report.study_instance_uid, report.date, bool(self._vault), bool(report.pdf), words, pdf

    def _report(self, row: Row) -> Report:
        uid, study, date, is_sealed, has_pdf, words, pdf = row
        vault, place = self._vault if is_sealed else CLEAR, uid.encode()
        if is_sealed and not self._vault:
            raise SealError("a report")
        patient, title, is_complete, is_verified, text = json.loads(bytes(vault.unseal(WORDS, place, words)))
        document = bytes(vault.unseal(PDF, place, pdf)) if pdf else b""
        return Report(uid, study, patient, title, date, is_complete, is_verified, text, document, bool(has_pdf))

    def _connected(self) -> AbstractContextManager[sqlite3.Connection]:
        """Open the table for one transaction."""
        return table_transaction(self._path, SCHEMA)

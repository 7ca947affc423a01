"""Reports: kept, found by study, erased for good."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.objects.report_table import Report, ReportTable
from storage.vault import SealError, Vault

FIRST = Report("1.1", "1", "P1\\", "Report", "20200101", True, False, "Kowalska has an effusion")
LATER = replace(FIRST, sop_instance_uid="1.2", date="20210101", words="", pdf=b"%PDF-1.7", has_pdf=True)
OTHER = replace(FIRST, sop_instance_uid="2.1", study_instance_uid="2", patient="P2\\")


def test_reports_on_a_study_come_newest_first_without_the_bytes_of_pdfs(tmp_path: Path) -> None:
    table = ReportTable(tmp_path / "reports" / "reports.sqlite")
    assert table.of_study("1") == []

    table.keep([FIRST, LATER, OTHER])
    table.keep([replace(FIRST, title="Addendum")])

    assert table.of_study("1") == [replace(LATER, pdf=b""), replace(FIRST, title="Addendum")]
    assert table.find("1.2") == LATER
    assert table.find("3") is None
    assert (tmp_path / "reports").stat().st_mode & 0o77 == 0


def test_nothing_is_left_of_an_erased_report(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "reports.sqlite"
    table = ReportTable(path)
    table.keep([FIRST, LATER, OTHER])

    assert table.erase_where(lambda study, patient: study == "1" and patient == "P1\\") == 2
    table.erase(["7", "8"])

    assert table.of_study("1") == []
    assert table.of_study("2") == [OTHER]
    table.erase([OTHER.sop_instance_uid])
    assert b"Kowalska" not in path.read_bytes()


def test_with_a_key_nobody_reads_what_a_report_says(tmp_path: Path) -> None:
    path, vault = tmp_path / "reports.sqlite", Vault(bytes(range(32)))
    ReportTable(path).keep([FIRST])

    sealed = ReportTable(path, vault)
    sealed.keep([LATER])
    before = sealed.of_study("1")
    sealed.seal()

    assert before == sealed.of_study("1") == [replace(LATER, pdf=b""), FIRST]
    assert sealed.find("1.2") == LATER
    octets = path.read_bytes()
    assert b"Kowalska" not in octets
    assert b"%PDF" not in octets
    with pytest.raises(SealError):
        ReportTable(path).of_study("1")

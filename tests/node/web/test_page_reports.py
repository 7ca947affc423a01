"""Reports beside the images of the page: for whom, and whose."""

from dataclasses import replace

from fastapi.testclient import TestClient

from node.home import Reading
from node.options.access import CallerEntry, Disclosure, Right
from node.settings import Settings
from node.web.app import build
from node.web.resources import WebResources
from storage.objects.report_table import Report, ReportTable
from storage.record import patient_key
from tests.support.web.invented_page import item, private

PDF = b"%PDF-1.7\n%%EOF\n"


def report(number: int, **changes: object) -> Report:
    made = Report(
        f"2.25.5{number}", "2.25.47", patient_key("ID-77", "", ""), "Report", "20210304", True, False, "Effusion"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_caller_who_sees_names_gets_the_reports_on_a_study_of_the_same_patient(
    home: Settings, reading: Reading, client: TestClient
) -> None:
    reading.database.append([private(30, 0), item(0, 0)])
    ReportTable(home.reports_path).keep(
        [report(1), report(2, words="", pdf=PDF, is_verified=True), report(3, patient=patient_key("ID-78", "", ""))]
    )

    answer = client.get("/api/reports/2.25.47").json()["reports"]
    pdf, of_other = client.get("/api/reports/2.25.47/2.25.52.pdf"), client.get("/api/reports/2.25.47/2.25.53.pdf")

    assert [(one["uid"], one["words"], one["has_pdf"], one["is_verified"]) for one in answer] == [
        ("2.25.52", "", True, True), ("2.25.51", "Effusion", False, False),
    ]  # fmt: skip
    assert (pdf.content, pdf.headers["content-disposition"]) == (PDF, 'attachment; filename="report.pdf"')
    assert of_other.status_code == client.get("/api/reports/2.25.40/2.25.52.pdf").status_code == 404
    assert client.get("/api/reports/2.25.99").json() == {"reports": []}


def test_a_masked_caller_gets_no_report(home: Settings, reading: Reading) -> None:
    reading.database.append([private(30, 0)])
    ReportTable(home.reports_path).keep([report(1)])
    masked = CallerEntry(web=True, rights=(Right.SIMILAR,), disclosure=Disclosure.MASKED)
    settings = home.model_copy(update={"keep_reports": True, "callers": {"STUDENTS": masked}})
    client = TestClient(
        build(WebResources.of(settings, reading)), base_url=f"http://{home.host}", client=("127.0.0.1", 5)
    )

    assert client.get("/api/reports/2.25.47").status_code == 403
    assert client.get("/api/status").json()["has_reports"] is False

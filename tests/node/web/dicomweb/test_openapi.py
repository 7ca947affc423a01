"""Requests that nobody thinks of, made from the OpenAPI documents of DICOMweb and of the page."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case, SerializationContext
from schemathesis.core.result import Ok

from tests.support.web.web_archive import BASE, served, web_archive

BUSY = 503
"""The one answer from 500 on that says nothing is wrong: come back later."""


@schemathesis.serializer("multipart/related", "application/dicom", "image/jpeg", "image/png")
def as_it_is(_context: SerializationContext, value: object) -> bytes:
    """Send a body as the bytes that were made up."""
    return value if isinstance(value, bytes) else str(value).encode()


def test_capabilities_name_every_resource_as_wadl_or_openapi(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home") as archive:
        wadl = archive.client.options(f"{BASE}/")
        document = archive.client.options(f"{BASE}/", headers={"Accept": "application/json"}).json()
        refused = archive.client.options(f"{BASE}/", headers={"Accept": "text/html"})

    root = ElementTree.fromstring(wadl.content)
    space = {"w": "http://wadl.dev.java.net/2009/02"}
    named = {
        (resource.attrib["path"], method.attrib["name"])
        for resource in root.iterfind(".//w:resource", space)
        for method in resource.iterfind("w:method", space)
    }
    offered = {(path.lstrip("/"), name.upper()) for path, methods in document["paths"].items() for name in methods}
    assert wadl.headers["content-type"] == "application/vnd.sun.wadl+xml"
    assert named == offered
    assert {("studies", "GET"), ("studies", "POST"), ("why", "GET"), ("similar", "POST")} <= named
    assert root.find("w:resources", space).attrib["base"].endswith(f"{BASE}/")  # type: ignore[union-attr]
    assert refused.status_code == 406


def test_the_document_of_the_page_names_what_it_asks_for(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home") as archive:
        document = archive.client.get("/api/openapi.json").json()

    operations = {(path, name.upper()) for path, methods in document["paths"].items() for name in methods}
    names = [one["operationId"] for methods in document["paths"].values() for one in methods.values()]
    parameters = document["paths"]["/api/similar/{sop_instance_uid}"]["get"]["parameters"]
    assert {("/api/status", "GET"), ("/api/cases", "GET"), ("/api/similar", "POST"), ("/api/why", "GET")} <= operations
    assert ("/", "GET") not in operations
    assert not any(method == "HEAD" for _, method in operations)
    assert len(names) == len(set(names))
    assert {"k", "region", "distinct", "without"} <= {one["name"] for one in parameters}


@pytest.mark.slow
@pytest.mark.parametrize(("document", "fewest"), [(f"{BASE}/openapi.json", 20), ("/api/openapi.json", 12)])
def test_no_request_of_an_openapi_document_fails_within_the_node(tmp_path: Path, document: str, fewest: int) -> None:
    with web_archive(tmp_path / "home") as archive, served(archive) as connection:
        address = f"http://{connection.host}:{connection.port}"
        schema = schemathesis.openapi.from_url(f"{address}{document}")
        operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
        for operation in operations:

            @given(operation.as_strategy())
            @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            def answers(case: Case[Any]) -> None:
                answer = case.call(base_url=address)
                assert answer.status_code < 500 or answer.status_code == BUSY, case.as_curl_command()

            answers()

    assert len(operations) > fewest

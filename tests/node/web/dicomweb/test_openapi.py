"""Requests that nobody thinks of, made from the OpenAPI document of DICOMweb."""

from pathlib import Path
from typing import Any

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


@pytest.mark.slow
def test_no_request_of_the_openapi_document_fails_within_the_node(tmp_path: Path) -> None:
    with web_archive(tmp_path / "home") as archive, served(archive) as connection:
        address = f"http://{connection.host}:{connection.port}"
        schema = schemathesis.openapi.from_url(f"{address}{BASE}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
        for operation in operations:

            @given(operation.as_strategy())
            @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), database=None)
            def answers(case: Case[Any]) -> None:
                answer = case.call(base_url=address)
                assert answer.status_code < 500 or answer.status_code == BUSY, case.as_curl_command()

            answers()

    assert len(operations) > 20

"""The DICOMweb of the source PACS: clients are redirected to it, or its answers are passed through as they come."""

import http.client
import ssl
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, urlsplit

from fastapi import Request, Response
from fastapi.responses import RedirectResponse, StreamingResponse
from starlette.exceptions import HTTPException

from node.settings import Settings

PIECE_BYTES: Final = 1 << 16
PASSED_STATUSES: Final = frozenset({200, 204, 206, 404, 406, 410})
"""Statuses of the PACS that mean the same to our client; any other becomes 502."""


class Upstream:
    """The DICOMweb of the source PACS."""

    def __init__(self, url: str, settings: Settings, *, redirects: bool) -> None:
        self._url, self._redirects = url.rstrip("/"), redirects
        self._connect_s, self._silence_s = settings.peer_timeout_s, settings.retrieve_timeout_s

    @classmethod
    def of(cls, settings: Settings) -> "Upstream | None":
        """Return that of the source PACS, None if its entry in `peers` names none."""
        peer = settings.peers.get(settings.source_peer)
        if peer is None or not peer.dicomweb_url:
            return None
        return cls(peer.dicomweb_url, settings, redirects=peer.dicomweb_redirect)

    def answer(self, request: Request, path: str) -> Response:
        """Answer a retrieval.

        Parameters
        ----------
        path
            Below the address of a DICOMweb service, made of UIDs and words of ours.

        Raises
        ------
        HTTPException
            502: the PACS cannot be reached, or does not answer as a DICOMweb service does.
        """
        query = f"?{quote(request.url.query, safe='=&%+,;*/:')}" if request.url.query else ""
        if self._redirects:
            return RedirectResponse(f"{self._url}{path}{query}", 307)
        try:
            return self._passed(request, path + query)
        except (OSError, http.client.HTTPException) as error:
            raise HTTPException(502, f"the source PACS does not answer: {type(error).__name__}") from error

    def _passed(self, request: Request, target: str) -> Response:
        connection = self._connection()
        accept = request.headers.get("accept", "*/*")
        connection.request("GET", urlsplit(self._url).path + target, headers={"Accept": accept})
        answer = connection.getresponse()
        if answer.status not in PASSED_STATUSES:
            connection.close()
            raise HTTPException(502, f"the source PACS answers with status {answer.status}")
        if answer.status in (404, 406, 410):
            connection.close()
            raise HTTPException(answer.status, "so says the source PACS")
        headers = {"Content-Type": answer.getheader("Content-Type", "application/octet-stream")}
        return StreamingResponse(_pieces(connection, answer), answer.status, headers)

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=self._connect_s, context=context
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=self._connect_s)
        connection.connect()
        connection.sock.settimeout(self._silence_s)
        return connection


def _pieces(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield a body as it comes; one that ends too early raises, so that our client sees it cut."""
    try:
        while piece := answer.read(PIECE_BYTES):
            yield piece
        if answer.length:
            raise ConnectionError("the source PACS ended the body too early")
    finally:
        connection.close()

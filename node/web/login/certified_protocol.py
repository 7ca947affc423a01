"""HTTP/1.1 as uvicorn serves it, with the certificate that a client showed in the scope of its requests."""

import asyncio
from collections.abc import MutableMapping
from typing import Any, Final, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

from node.options.certificate_names import Attributes, peer_attributes

CERTIFICATE: Final = "lookalike.certificate"


class CertifiedProtocol(H11Protocol):
    """One connection of a client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, once the handshake of TLS is over."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("peercert")
        app: Any = self.app
        subject = peer_attributes(certificate["subject"]) if certificate else None

        async def with_certificate(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            await app({**scope, CERTIFICATE: subject}, receive, send)

        if subject is not None:
            self.app = cast("Any", with_certificate)


def certificate_of(scope: MutableMapping[str, Any]) -> Attributes | None:
    """Attributes of the subject of the certificate that a client showed; None if it showed none."""
    return cast("Attributes | None", scope.get(CERTIFICATE))

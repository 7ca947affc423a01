"""Who may use DICOMweb, and how many requests are served at once."""

import ipaddress
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from node.settings import Settings
from node.web.problems import RETRY_AFTER_S, status_problem

FOREIGN: Final = "this address may not use DICOMweb: see dicomweb_networks in the settings"
BUSY: Final = "too many requests at once: try again"


class Gatekeeper:
    """Middleware that lets in clients of some networks, and so many requests at a time (ASGI).

    DICOMweb returns names and IDs, and there is no login: what is not listed stays out.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(network) for network in settings.dicomweb_networks]
        self._slots = settings.web_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 403 or 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif not self._admits(scope):
            await status_problem(403, FOREIGN)(scope, receive, send)
        elif self._slots == 0:
            await status_problem(503, BUSY, {"Retry-After": str(RETRY_AFTER_S)})(scope, receive, send)
        else:
            self._slots -= 1  # the event loop runs one coroutine at a time: no lock is needed
            try:
                await self._app(scope, receive, send)
            finally:
                self._slots += 1

    def _admits(self, scope: Scope) -> bool:
        try:
            address = ipaddress.ip_address((scope.get("client") or ("",))[0])
        except ValueError:  # no network at all
            return False
        mapped = getattr(address, "ipv4_mapped", None) or address  # how IPv4 clients look on a socket of IPv6
        return any(mapped in network for network in self._networks if network.version == mapped.version)

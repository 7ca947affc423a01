"""Who may use DICOMweb, and how many requests are served at once."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from node.access_settings import Disclosure
from node.settings import Settings
from node.web.caller_gate import caller_of
from node.web.problems import RETRY_AFTER_S, status_problem

FOREIGN: Final = "this client may not use DICOMweb: see callers and dicomweb_networks in the settings"
BUSY: Final = "too many requests at once: try again"


class Gatekeeper:
    """Middleware that lets in callers that may see names and IDs, and so many requests at a time (ASGI)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._slots = settings.web_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 403 or 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif caller_of(scope).disclosure is not Disclosure.FULL:
            await status_problem(403, FOREIGN)(scope, receive, send)
        elif self._slots == 0:
            await status_problem(503, BUSY, {"Retry-After": str(RETRY_AFTER_S)})(scope, receive, send)
        else:
            self._slots -= 1  # the event loop runs one coroutine at a time: no lock is needed
            try:
                await self._app(scope, receive, send)
            finally:
                self._slots += 1

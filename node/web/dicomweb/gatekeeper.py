"""How many requests of DICOMweb are served at once."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from node.settings import Settings
from node.web.problems import RETRY_AFTER_S, status_problem

BUSY: Final = "too many requests at once: try again"


class Gatekeeper:
    """Middleware that lets in so many requests at a time (ASGI); `CallerGate` has said who may send them."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._slots = settings.web_requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 503."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._slots == 0:
            await status_problem(503, BUSY, {"Retry-After": str(RETRY_AFTER_S)})(scope, receive, send)
        else:
            self._slots -= 1  # the event loop runs one coroutine at a time: no lock is needed
            try:
                await self._app(scope, receive, send)
            finally:
                self._slots += 1

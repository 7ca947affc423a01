"""A page of this machine answers by its names only: a foreign site could read it by a name that leads here."""

from http import HTTPStatus
from urllib.parse import urlsplit

from fastapi.responses import PlainTextResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from node.options.access import is_loopback


class OwnHosts:
    """Middleware that refuses requests by other names than those of this machine (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 400."""
        try:
            name = urlsplit(f"//{Headers(scope=scope).get('host', '')}").hostname  # an IPv6 address stands in brackets
        except ValueError:
            name = None
        if name is None or not is_loopback(name):
            await PlainTextResponse("Invalid host header", HTTPStatus.BAD_REQUEST)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

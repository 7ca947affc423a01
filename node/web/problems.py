"""Error responses of the page as problem details (RFC 9457), and the headers of every response."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from node.access.logins import LoginError
from node.errors import HTTP_STATUS, Refusal, Status
from node.logs import begin_request, end_request, request_id
from storage.errors import StorageError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
REQUEST_HEADER = "X-Request-ID"
"""Header by which a request is found in the log; a proxy may give one."""
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware that answers any error that nothing else caught, and adds the headers of every response (ASGI).

    A body that breaks off after it has begun stays cut: the client must see that it is not whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        has_begun, token = False, begin_request(Headers(scope=scope).get(REQUEST_HEADER, ""))

        async def send_guarded(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_HEADER] = request_id()
                _add_headers(headers, scope["path"])
            await send(message)

        try:
            await self._app(scope, receive, send_guarded)
        except Exception:
            if has_begun:
                raise
            place = scope["route"].path if "route" in scope else "a path"
            logger.exception("internal error at %s", place)
            await internal_error()(scope, receive, send_guarded)
        finally:
            end_request(token)


def internal_error(*_: object) -> Response:
    """The answer to an error of ours; an exception handler, too."""
    return problem(Refusal(Status.INTERNAL_ERROR, "internal error: see the log of the node"))


def _add_headers(headers: MutableHeaders, path: str) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    headers.setdefault("Cache-Control", "no-store" if path.startswith(("/api/", "/dicom-web/")) else "no-cache")


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem(error)


def _not_logged_in(_: Request, error: Exception) -> Response:
    return status_problem(401, str(error), {"WWW-Authenticate": "Bearer"})


def _unreadable(_: Request, error: Exception) -> Response:
    logger.error("database cannot be read: %s", error)
    return problem(Refusal(Status.OUT_OF_RESOURCES, "database cannot be read: see the log of the node"))


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    names = sorted({str(problem["loc"][1]) for problem in error.errors()})
    return problem(Refusal(Status.DATA_SET_MISMATCH, f"not a usable value: {', '.join(names)}"))


def _other(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = "" if error.detail == HTTPStatus(error.status_code).phrase else error.detail
    return status_problem(error.status_code, detail, error.headers)


def status_problem(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> Response:
    """Problem details for an HTTP status of its own."""
    value = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    value |= {"detail": detail} if detail else {}
    return JSONResponse(value, status, headers, "application/problem+json")


def problem(refusal: Refusal) -> Response:
    """A refusal as problem details (RFC 9457), with its DIMSE status."""
    status = HTTPStatus(HTTP_STATUS[refusal.status])
    again = status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.CONFLICT)
    value = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status,
        "detail": refusal.comment,
        "dimse_status": f"{refusal.status:04X}",
    }
    headers = {"Retry-After": str(RETRY_AFTER_S)} if again else None
    return JSONResponse(value, status, headers, "application/problem+json")


ANSWERS: dict[type[Exception], Callable[[Request, Exception], Response]] = {
    Refusal: _refused,
    StorageError: _unreadable,
    LoginError: _not_logged_in,
    RequestValidationError: _invalid,
    HTTPException: _other,
}
"""Answer to each error that an endpoint may raise."""

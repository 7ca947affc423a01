"""Error responses of the page as problem details (RFC 9457), and the headers of every response."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from node.errors import HTTP_STATUS, Refusal, Status
from storage.errors import StorageError

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 2
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Call = Callable[[Request], Awaitable[Response]]


async def guard(request: Request, call: Call) -> Response:
    """Pass a request on, answer any error that nothing else caught, and add the headers of every response."""
    try:
        response = await call(request)
    except Exception:
        logger.exception("internal error at %s", request.scope["route"].path if "route" in request.scope else "a path")
        response = problem(Refusal(Status.INTERNAL_ERROR, "internal error: see the log of the node"))
    for name, value in HEADERS.items():
        response.headers[name] = value
    fresh = "no-store" if request.url.path.startswith(("/api/", "/dicom-web/")) else "no-cache"
    response.headers.setdefault("Cache-Control", fresh)
    return response


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return problem(error)


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
    RequestValidationError: _invalid,
    HTTPException: _other,
}
"""Answer to each error that an endpoint may raise."""

"""Who sends an HTTP request, and whether it may: checked before any endpoint sees the request."""

import logging
import re
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from node.access.callers import NOBODY, Caller, Callers, Origin, RateExceededError
from node.access.logins import LoginError, UnknownCallerError
from node.errors import Refusal
from node.options.access import Right
from node.web.login.certified_protocol import certificate_of
from node.web.problems import RETRY_AFTER_S, problem, status_problem

OPEN: Final = frozenset({"/healthz", "/readyz", "/open"})
"""Paths for monitors, whose answers hold nothing of patients, and that of links, which prove themselves."""
LINKS: Final = "/api/links"
"""Path of new links, which need a login of their own: a session must not prolong itself."""
COOKIE: Final = "lookalike-session"
BEARER: Final = re.compile(r"bearer +([A-Za-z0-9._~+/=-]{1,8192})", re.IGNORECASE)  # RFC 6750 2.1
CHALLENGE: Final = {"WWW-Authenticate": "Bearer"}
FOR_OPERATORS: Final = frozenset({"/metrics", "/aside", "/api/aside"})
DICOMWEB: Final = "/dicom-web"
SEARCHES: Final = frozenset({"studies", "series", "instances"})
PICTURES: Final = frozenset({"rendered", "thumbnail"})
STUDY: Final = re.compile(r"/(?:dicom-web/studies|api/reports)/([0-9.]{1,64})(?:/.*)?")
KEY: Final = "lookalike.caller"

logger = logging.getLogger(__name__)


class CallerGate:
    """Middleware that lets in known callers with the right to what they want (ASGI); whatever fails lets nobody in."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        self._app, self._callers = app, callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer 403, 429 or 500."""
        if scope["type"] != "http" or scope["path"] in OPEN or _is_preflight(scope):
            await self._app(scope, receive, send)
            return
        try:
            address = (scope.get("client") or ("",))[0]
            caller = self._caller(scope, address)
            rights, is_counted = needed_rights(scope["method"], scope["path"])
            if is_counted:
                caller.begin(*rights)
            else:
                caller.check(*rights)
        except LoginError as error:
            await status_problem(401, str(error), CHALLENGE)(scope, receive, send)
        except UnknownCallerError as error:
            await status_problem(403, str(error))(scope, receive, send)
        except RateExceededError as error:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            await status_problem(429, error.comment, headers)(scope, receive, send)
        except Refusal as refusal:
            await problem(refusal)(scope, receive, send)
        else:
            if is_counted:
                self._record(caller, address, scope)
            await self._app({**scope, KEY: caller}, receive, send)

    def _caller(self, scope: Scope, address: str) -> Caller:
        """Who sends a request: by its token, else by its session, else by its address and certificate."""
        connection = HTTPConnection(scope)
        authorization, session = connection.headers.get("authorization", ""), connection.cookies.get(COOKIE, "")
        if session and not authorization and scope["path"] != LINKS:
            return self._callers.of_session(session, address)
        token = BEARER.fullmatch(authorization)
        if authorization and token is None:
            raise LoginError("Authorization is no bearer token")
        return self._callers.of_request(Origin(address, certificate_of(scope), token[1] if token else ""))

    def _record(self, caller: Caller, address: str, scope: Scope) -> None:
        """Have an audit message of a search, or of a retrieval of a study's images."""
        path = scope["path"]
        study = STUDY.fullmatch(path)
        if study and path.rpartition("/")[2] not in SEARCHES | {"similar"}:
            self._callers.trail.accessed(caller.name, address, study[1])
        else:
            query = f"{path}?{scope['query_string'].decode('latin-1')}".encode()
            self._callers.trail.queried(caller.name, address, "", query)


def caller_of(scope: Scope) -> Caller:
    """Return the caller of a request that passed the gate; nobody of one that did not."""
    caller = scope.get(KEY, NOBODY)
    assert isinstance(caller, Caller)
    return caller


def needed_rights(method: str, path: str) -> tuple[tuple[Right, ...], bool]:
    """Rights of which a request needs one, and True if it counts against `requests_per_minute`."""
    if path in FOR_OPERATORS:
        return (Right.ADMIN,), False
    if not path.startswith(DICOMWEB):
        return (Right.SIMILAR,), path.startswith(("/api/similar", "/api/why", "/api/reports"))
    last = path.rstrip("/").rpartition("/")[2]
    if method == "POST":
        return ((Right.SIMILAR,) if last == "similar" else (Right.STORE,)), last == "similar"
    if method not in ("GET", "HEAD"):
        return (Right.ADMIN,), False
    if path == f"{DICOMWEB}/openapi.json":
        return tuple(Right), False
    if last in ("similar", "why"):
        return (Right.SIMILAR,), True
    if last in SEARCHES:
        return (Right.FIND, Right.SIMILAR), True  # which of them is known once the search is read
    if last in PICTURES:
        return (Right.RETRIEVE, Right.SIMILAR), False
    return (Right.RETRIEVE,), True


def _is_preflight(scope: Scope) -> bool:
    """True for what a browser asks before it sends a request of another origin: no login, and no data."""
    return scope["method"] == "OPTIONS" and bool(scope["path"].startswith(DICOMWEB))

"""Links for the button of a PACS that opens an external application: short-lived, and good for one study's reader.

A program with a login of its own asks for a link (`POST /api/links`) and hands it to the browser of its user; following
it opens a session there with the rights of that program's entry, and leads to the study.
"""

from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from node.access.audit_trail import AuditTrail
from node.access.logins import LINK, SESSION, LoginError, sign, signed, spend
from node.settings import Settings
from node.web.caller_gate import COOKIE, LINKS, caller_of

OPENING: Final = "/open"
STUDY: Final = r"^[0-9.]{1,64}$"


class LinkService:
    """Makes links and opens sessions.

    Attributes
    ----------
    router
        Its endpoints.
    """

    def __init__(self, settings: Settings, trail: AuditTrail) -> None:
        self._settings, self._trail, self.router = settings, trail, APIRouter(tags=["Links"])
        self.router.add_api_route(LINKS, self.make, methods=["POST"])
        self.router.add_api_route(OPENING, self.follow, methods=["GET"])

    def make(self, request: Request, study: Annotated[str, Query(pattern=STUDY)]) -> Response:
        """A link to a study, for `link_minutes`, with the rights of the caller."""
        url = link_to(self._settings, caller_of(request.scope).name, study, str(request.base_url))
        return JSONResponse({"url": url, "minutes": self._settings.link_minutes}, 201)

    def follow(self, request: Request, token: str) -> Response:
        """Open a session of `session_minutes`, and lead to the study; 401 if the link is over, spent or not ours."""
        claims = self._claims(token, request.client.host if request.client else "")
        minutes = self._settings.session_minutes
        response = RedirectResponse(f"/#find={quote(str(claims.get('study', '')))}", 303)
        response.set_cookie(
            COOKIE,
            sign(self._settings, SESSION, str(claims["sub"]), minutes),
            max_age=int(60 * minutes),
            secure=self._settings.https,
            httponly=True,
            samesite="lax",
        )
        return response

    def _claims(self, token: str, address: str) -> dict[str, Any]:
        try:
            claims = signed(self._settings, LINK, token)
            if self._settings.link_once:
                spend(self._settings, claims)
        except LoginError as error:
            self._trail.rejected("link", address, str(error))
            raise
        return claims


def link_to(settings: Settings, caller: str, study: str, base_url: str = "") -> str:
    """Address that opens a session of a caller and leads to a study, for `link_minutes`."""
    token = sign(settings, LINK, caller, settings.link_minutes, study=study)
    return f"{(base_url or settings.url).rstrip('/')}{OPENING}?token={token}"

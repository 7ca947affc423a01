"""Pictures of images: the previews that are kept, or larger ones made from originals; and who may see which."""

import io
from collections.abc import Callable

import numpy as np
from fastapi import Response
from numpy.typing import NDArray
from PIL import Image
from starlette.types import Scope

from node.access.audit_trail import AuditTrail
from node.ask.originals import Originals
from node.errors import Refusal, Status
from node.examples.request import ExampleClient, FrameEntry, ServiceDownError
from node.examples.search import ENCODING_S
from node.options.access import Disclosure
from node.results.cases import may_show_identity
from node.settings import Settings
from node.web.caller_gate import caller_of
from storage.database.snapshot import Snapshot
from storage.record import Level, Record


class Pictures:
    """Makes pictures from originals, in the decode workers of the index role: what is damaged costs a worker."""

    def __init__(self, settings: Settings, originals: Originals) -> None:
        self._settings, self._originals, self._client = settings, originals, ExampleClient(settings)

    @property
    def are_larger(self) -> bool:
        """True if originals are kept or can be fetched."""
        return self._settings.picture_side > 0 and (self._settings.retain == "all" or bool(self._settings.source_peer))

    def original(
        self, sop_instance_uid: str, frame: int, check: Callable[[], None], *, is_square: bool
    ) -> NDArray[np.uint8] | None:
        """Picture of a frame, (rows, columns); None if the original cannot be had or shown.

        Parameters
        ----------
        frame
            1-based.
        check
            Called again and again meanwhile; it may raise.
        is_square
            True for a picture in the middle of a square, as previews are.
        """
        settings = self._settings
        if not self.are_larger:
            return None
        with self._originals.file_of(sop_instance_uid, check) as path:
            if path is None:
                return None
            entry = FrameEntry(path, frame, settings.picture_side, is_square)
            try:
                rendered = self._client.render(entry, settings.example_limit_s + ENCODING_S, check)
            except ServiceDownError:
                return None
        return None if rendered is None else rendered.pixels


def png_response(pixels: NDArray[np.uint8], headers: dict[str, str]) -> Response:
    """A picture as PNG."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG", compress_level=1)
    return Response(png.getvalue(), media_type="image/png", headers=headers)


def view_picture(snapshot: Snapshot, record: Record, scope: Scope, trail: AuditTrail) -> None:
    """Raise a refusal (0124) if a caller may not see the picture of an instance; else record that it looks at it."""
    caller = caller_of(scope)
    check_picture(snapshot, record.sop_instance_uid, caller.disclosure)
    trail.viewed(caller.name, (scope.get("client") or ("",))[0], record.study_instance_uid)


def check_picture(snapshot: Snapshot, sop_instance_uid: str, disclosure: Disclosure) -> None:
    """Raise a refusal (0124) if the picture of an instance may show more than the caller may see."""
    if disclosure is Disclosure.FULL:
        return
    image = snapshot.entity(Level.IMAGE, sop_instance_uid)
    if image is None or may_show_identity(image.attributes):
        raise Refusal(Status.NOT_AUTHORIZED, "this picture may show a name: not for this caller")

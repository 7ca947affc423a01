"""Rendered images and thumbnails (PS3.18 sections 10.4.1.1.3 and 10.4.1.1.5).

Rendered images are made from original pixels where these are kept or can be fetched, else from previews, as all
thumbnails are.
"""

import io
import re
from typing import Final

from fastapi import APIRouter, Request, Response
from PIL import Image
from starlette.exceptions import HTTPException

from node.errors import Refusal, Status
from node.query import catalog
from node.web.caller_gate import caller_of
from node.web.dicomweb.responses import INSTANCE_PATH, SERIES_PATH, STUDY_PATH, Uid, deadline
from node.web.dicomweb.wado import FrameList
from node.web.media_types import choose
from node.web.pictures import check_picture
from node.web.resources import WebResources
from storage.record import Level

FORMATS: Final = {"image/jpeg": "JPEG", "image/png": "PNG"}
QUALITY: Final = 90
MAX_SIDE: Final = 4096
VIEWPORT: Final = re.compile(r"([0-9]{1,5}),([0-9]{1,5})(,.*)?")


class RenderedService:
    """Answers requests for pictures; of a study or series that of its middle instance.

    Attributes
    ----------
    router
        Its endpoints.
    """

    def __init__(self, resources: WebResources) -> None:
        self._resources = resources
        self.router = APIRouter(tags=["WADO-RS, rendered"])
        for path, endpoint in (
            (STUDY_PATH, self.study),
            (SERIES_PATH, self.series),
            (INSTANCE_PATH, self.instance),
            (INSTANCE_PATH + "/frames/{frame_list}", self.frame),
        ):
            for kind in ("/rendered", "/thumbnail"):
                name = f"{endpoint.__name__}_{kind[1:]}"
                self.router.add_api_route(path + kind, endpoint, methods=["GET"], operation_id=name)

    def study(self, request: Request, study: Uid) -> Response:
        """Picture of the middle instance of a study."""
        return self._picture(request, {Level.STUDY: study})

    def series(self, request: Request, study: Uid, series: Uid) -> Response:
        """Picture of the middle instance of a series."""
        return self._picture(request, {Level.STUDY: study, Level.SERIES: series})

    def instance(self, request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        """Picture of the middle one of the frames of an instance that are indexed."""
        return self._picture(request, {Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance})

    def frame(self, request: Request, study: Uid, series: Uid, instance: Uid, frame_list: FrameList) -> Response:
        """Picture of one frame."""
        if "," in frame_list:
            raise HTTPException(400, "pictures are of one frame each")
        target = {Level.STUDY: study, Level.SERIES: series, Level.IMAGE: instance}
        return self._picture(request, target, int(frame_list))

    def _picture(self, request: Request, target: dict[Level, str], frame: int | None = None) -> Response:
        """The frame that is named, else the middle one of those that are indexed."""
        media_type, size = choose(request, tuple(FORMATS)), _viewport(request)
        level, check = list(target)[-1], deadline(self._resources.settings)
        with self._resources.reading.database.snapshot() as snapshot:
            entity = snapshot.entity(level, target[level])
            if entity is None or any(entity.uids[each] != uid for each, uid in target.items()):
                raise Refusal(Status.EXAMPLE_UNKNOWN, f"no such {level.lower()} here")
            instances = list(catalog.descendants(snapshot, level, target[level], Level.IMAGE, check))
            record = snapshot.record(instances[len(instances) // 2])
            assert record is not None, "it is below an entity"
            check_picture(snapshot, record.sop_instance_uid, caller_of(request.scope).disclosure)
            middle = record.frames[len(record.frames) // 2] if record.frames else 0
            index = middle if frame is None else frame - 1
            pixels = snapshot.preview(record.sop_instance_uid, index)
        if request.url.path.endswith("/rendered"):
            original = self._resources.pictures.original(record.sop_instance_uid, index + 1, check, is_square=False)
            pixels = pixels if original is None else original
        if pixels is None:
            raise Refusal(Status.EXAMPLE_UNKNOWN, "no preview of this frame was kept")
        return Response(encoded(Image.fromarray(pixels), media_type, size), media_type=media_type)


def encoded(picture: Image.Image, media_type: str, size: tuple[int, int] | None = None) -> bytes:
    """A picture as a file, fitted into a size if one is given."""
    if size is not None:
        scale = min(size[0] / picture.width, size[1] / picture.height)
        sides = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(sides, Image.Resampling.LANCZOS)
    octets = io.BytesIO()
    options = {"quality": QUALITY} if media_type == "image/jpeg" else {"compress_level": 1}
    picture.save(octets, FORMATS[media_type], **options)
    return octets.getvalue()


def _viewport(request: Request) -> tuple[int, int] | None:
    text = request.query_params.get("viewport")
    if text is None:
        return None
    found = VIEWPORT.fullmatch(text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise HTTPException(400, f"viewport takes width and height, at most {MAX_SIDE} each")
    return width, height

"""Why two images were found alike: a map over each, from the process that holds the model."""

from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from PIL import Image

from node.errors import Refusal, Status
from node.examples.request import ExampleClient, ImagePair, MapKind, PairMaps, ServiceDownError
from node.web.caller_gate import caller_of
from node.web.media_types import choose
from node.web.pictures import check_picture, png_response
from node.web.resources import WebResources
from storage.database.snapshot import Snapshot

OVERLAY: Final = np.array((214, 70, 214), np.float32)
"""Colour of the overlay: no grey of an image has it, and no banner of the page."""
MAX_SHARE: Final = 0.6
"""Share of the overlay's colour where a map is highest."""
MEANINGS: Final = {
    MapKind.ABLATION: "Marked is what the likeness rests on: without it, the codes of both images agree less.",
    MapKind.OCCLUSION: "Marked is what the likeness rests on: where it is hidden, the codes of both images agree less.",
    MapKind.SHARED_ATTENTION: "Marked is where the model sees the findings that both images probably have.",
}
WARNING: Final = "It shows what the model compared, not disease."
Uid = Annotated[str, Query(pattern=r"^[0-9.]{1,64}$")]
Frame = Annotated[int | None, Query(ge=1)]


class WhyService:
    """Answers `GET /why`.

    Attributes
    ----------
    router
        Its endpoint.
    """

    def __init__(self, resources: WebResources) -> None:
        self._settings, self._database = resources.settings, resources.reading.database
        self._client = ExampleClient(resources.settings)
        self.router = APIRouter(tags=["Why two images are alike"])
        self.router.add_api_route("/why", self.why, methods=["GET"])

    def why(
        self, request: Request, query: Uid, match: Uid, queryframe: Frame = None, matchframe: Frame = None
    ) -> Response:
        """Maps of two indexed images as JSON, or as PNG with an overlay: the query at the left, the match at the right.

        Frames are counted from 1; by default the first indexed one.
        """
        media_type = choose(request, ("application/json", "image/png"))
        disclosure = caller_of(request.scope).disclosure
        with self._database.snapshot() as snapshot:
            for uid in (query, match):
                check_picture(snapshot, uid, disclosure)
            images = [_preview(snapshot, uid, frame) for uid, frame in ((query, queryframe), (match, matchframe))]
        maps = self._maps(ImagePair(*images))
        if media_type == "image/png":
            overlays = [overlay(image, values) for image, values in zip(images, (maps.query, maps.match), strict=True)]
            return png_response(np.hstack(overlays), {})
        return JSONResponse(
            {
                "kind": maps.kind,
                "meaning": f"{MEANINGS[maps.kind]} {WARNING}",
                "query": np.round(scaled(maps.query), 3).tolist(),
                "match": np.round(scaled(maps.match), 3).tolist(),
            }
        )

    def _maps(self, pair: ImagePair) -> PairMaps:
        try:
            return self._client.explain(pair, self._settings.web_timeout_s)
        except ServiceDownError as error:
            raise Refusal(Status.OUT_OF_RESOURCES, str(error)) from error


def scaled(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """A map with its greatest value at 1; negative values, which speak against likeness, become 0."""
    positive = np.maximum(values, 0)
    return np.asarray(positive / max(float(positive.max()), 1e-12), np.float32)


def overlay(image: NDArray[np.uint8], values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(rows, columns, 3) uint8: an image with a map laid over it."""
    shares = Image.fromarray(scaled(values)).resize(image.shape[::-1], Image.Resampling.BICUBIC)
    share = MAX_SHARE * np.asarray(shares, np.float32).clip(0, 1)[..., None]
    return np.asarray(np.rint((1 - share) * image[..., None] + share * OVERLAY), np.uint8)


def _preview(snapshot: Snapshot, uid: str, frame: int | None) -> NDArray[np.uint8]:
    record = snapshot.record(uid)
    if record is None:
        raise Refusal(Status.EXAMPLE_UNKNOWN, "no such SOPInstanceUID here: store it first")
    pixels = snapshot.preview(uid, (frame - 1) if frame else (record.frames or (0,))[0])
    if pixels is None:
        raise Refusal(Status.EXAMPLE_WITHOUT_PIXELS, "this frame has no preview")
    return pixels

"""WADO-RS: instances, frames and metadata, of kept objects or from the source PACS (PS3.18 section 10.4)."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import IO, Annotated, Final

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import StreamingResponse
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from starlette.exceptions import HTTPException

from node.dicom.hierarchy import ATTRIBUTES, UNIQUE
from node.errors import PeerError, Refusal, Status
from node.query import catalog
from node.retrieve.collect import Collector
from node.retrieve.hidden import HiddenInstances
from node.retrieve.kept import KeptInstance
from node.web.dicomweb.dicom_json import JsonObject, json_object
from node.web.dicomweb.instance_files import (
    DICOM,
    OCTETS,
    file_pieces,
    frames,
    kept_files,
    multipart_files,
    new_boundary,
)
from node.web.dicomweb.responses import (
    INSTANCE_PATH,
    SERIES_PATH,
    STUDY_PATH,
    Uid,
    data_sets_response,
    deadline,
    entity_url,
)
from node.web.dicomweb.upstream import Upstream
from node.web.media_types import MULTIPART, accepted
from node.web.resources import WebResources
from storage.database.snapshot import Snapshot
from storage.record import LEVELS, Level

FrameList = Annotated[str, Path(pattern=r"^[1-9][0-9]{0,8}(,[1-9][0-9]{0,8}){0,999}$", examples=["1"])]
NATIVE: Final = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
NOT_KEPT: Final = "images are not kept here, and no source_peer is set to get them from"
Target = Mapping[Level, str]
"""UIDs of an entity by level, of the study and of those below as far as they are given."""


class RetrieveService:
    """Answers retrievals from kept objects, by the DICOMweb of the source PACS, or else by a C-GET from it.

    Attributes
    ----------
    router
        Its endpoints.
    """

    def __init__(self, resources: WebResources) -> None:
        self._resources, self._settings = resources, resources.settings
        self._upstream = Upstream.of(resources.settings)
        self.router = APIRouter(tags=["WADO-RS"])
        for path, endpoint in (
            (STUDY_PATH, self.study),
            (SERIES_PATH, self.series),
            (INSTANCE_PATH, self.instance),
            (STUDY_PATH + "/metadata", self.study_metadata),
            (SERIES_PATH + "/metadata", self.series_metadata),
            (INSTANCE_PATH + "/metadata", self.instance_metadata),
            (INSTANCE_PATH + "/frames/{frame_list}", self.frames),
        ):
            self.router.add_api_route(path, endpoint, methods=["GET"])

    def study(self, request: Request, study: Uid) -> Response:
        """Every instance of a study."""
        return self._files(request, _target(study))

    def series(self, request: Request, study: Uid, series: Uid) -> Response:
        """Every instance of a series."""
        return self._files(request, _target(study, series))

    def instance(self, request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        """One instance."""
        return self._files(request, _target(study, series, instance))

    def study_metadata(self, request: Request, study: Uid) -> Response:
        """Attributes of every instance of a study."""
        return self._metadata(request, _target(study))

    def series_metadata(self, request: Request, study: Uid, series: Uid) -> Response:
        """Attributes of every instance of a series."""
        return self._metadata(request, _target(study, series))

    def instance_metadata(self, request: Request, study: Uid, series: Uid, instance: Uid) -> Response:
        """Attributes of one instance."""
        return self._metadata(request, _target(study, series, instance))

    def frames(self, request: Request, study: Uid, series: Uid, instance: Uid, frame_list: FrameList) -> Response:
        """Frames of an instance, numbered from 1, with commas between."""
        target = _target(study, series, instance)
        sop_classes, kept = self._sop_classes(target), self._kept(target)
        if self._upstream is not None and kept is None:
            return self._upstream.answer(request, f"{_path(target)}/frames/{frame_list}")
        numbers = [int(number) for number in frame_list.split(",")]
        found = self._collect(target, sop_classes, _frame_syntaxes(request), kept)
        first = next(found)
        try:
            parts, media_type, syntax = frames(first, numbers, self._settings.max_decoded_bytes)
        finally:
            found.close()  # type: ignore[attr-defined]
        boundary = new_boundary()
        head = f"--{boundary}\r\nContent-Type: {media_type}; transfer-syntax={syntax}\r\n\r\n".encode()
        body = b"".join(head + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()
        return Response(body, media_type=f'{MULTIPART}; type="{media_type}"; boundary={boundary}')

    def _files(self, request: Request, target: Target) -> Response:
        sop_classes, kept = self._sop_classes(target), self._kept(target)
        if self._upstream is not None and kept is None:
            return self._upstream.answer(request, _path(target))
        single, syntaxes = _file_types(request, is_instance=Level.IMAGE in target)
        found = self._collect(target, sop_classes, syntaxes, kept)
        if single:
            return StreamingResponse(chain.from_iterable(map(file_pieces, found)), media_type=DICOM)
        boundary = new_boundary()
        return StreamingResponse(
            multipart_files(found, boundary), media_type=f'{MULTIPART}; type="{DICOM}"; boundary={boundary}'
        )

    def _collect(
        self,
        target: Target,
        sop_classes: Sequence[str],
        transfer_syntaxes: Sequence[str],
        kept: Sequence[KeptInstance] | None,
    ) -> Iterator[IO[bytes]]:
        """Files, kept or from the source PACS; the first is there when this returns: a failure has its status."""
        if kept is not None:
            files = kept_files(kept, transfer_syntaxes, self._settings.max_decoded_bytes)
            return _with(next(files), files)
        source = self._resources.source
        if source is None:
            raise HTTPException(404, NOT_KEPT)
        keys = {UNIQUE[level]: uid for level, uid in target.items()}
        hidden = HiddenInstances(self._resources.reading.database)
        found = Collector(self._settings, source, hidden).collect(keys, sop_classes, transfer_syntaxes)
        try:
            first = next(found)
        except StopIteration as error:
            raise HTTPException(404, "the source PACS has no such instance") from error
        except PeerError as error:
            raise Refusal(Status.SUBOPERATIONS_NOT_PERFORMED, str(error)) from error
        return _with(first, found)

    def _kept(self, target: Target) -> list[KeptInstance] | None:
        """Instances that are kept and served here; None if the source PACS is to serve them."""
        kept, keys = self._resources.kept, {UNIQUE[level]: uid for level, uid in target.items()}
        if not kept.are_served:
            return None
        instances = kept.instances(list(target)[-1], keys, deadline(self._settings))
        return instances if kept.serves(instances) else None

    def _sop_classes(self, target: Target) -> list[str]:
        """SOP classes of what is to be retrieved; only what is indexed is."""
        check = deadline(self._settings)
        with self._resources.reading.database.snapshot() as snapshot:
            level, uid = _known(snapshot, target)
            found = {
                entity.attributes.get("SOPClassUID", "")
                for instance in catalog.descendants(snapshot, level, uid, Level.IMAGE, check)
                if (entity := snapshot.entity(Level.IMAGE, instance)) is not None
            }
        return sorted(found - {""})

    def _metadata(self, request: Request, target: Target) -> Response:
        check, most = deadline(self._settings), self._settings.max_find_responses
        with self._resources.reading.database.snapshot() as snapshot:
            level, uid = _known(snapshot, target)
            if self._upstream is not None:
                return self._upstream.answer(request, f"{_path(target)}/metadata")
            data_sets = []
            for instance in catalog.descendants(snapshot, level, uid, Level.IMAGE, check):
                data_sets.append(_attributes(request, snapshot, instance))
                if len(data_sets) > most:
                    raise Refusal(Status.OUT_OF_RESOURCES, "too many instances: get one series after the other")
        return data_sets_response(request, data_sets)


def _with(first: IO[bytes], rest: Iterator[IO[bytes]]) -> Iterator[IO[bytes]]:
    """Yield the first file and then the others; closing this closes the others, too, which ends the retrieval."""
    try:
        yield first
        yield from rest
    finally:
        rest.close()  # type: ignore[attr-defined]


def _target(study: str, series: str = "", instance: str = "") -> Target:
    uids = zip(LEVELS[1:], (study, series, instance), strict=True)
    return {level: uid for level, uid in uids if uid}


def _path(target: Target) -> str:
    names = {Level.STUDY: "studies", Level.SERIES: "series", Level.IMAGE: "instances"}
    return "".join(f"/{names[level]}/{uid}" for level, uid in target.items())


def _known(snapshot: Snapshot, target: Target) -> tuple[Level, str]:
    """Level and UID of an entity that is indexed, and lies where its path says."""
    level = list(target)[-1]
    entity = snapshot.entity(level, target[level])
    if entity is None or any(entity.uids[each] != uid for each, uid in target.items()):
        raise Refusal(Status.EXAMPLE_UNKNOWN, f"no such {UNIQUE[level]} here")
    return level, target[level]


def _attributes(request: Request, snapshot: Snapshot, sop_instance_uid: str) -> JsonObject:
    """What the index knows of an instance."""
    entity = snapshot.entity(Level.IMAGE, sop_instance_uid)
    assert entity is not None, "it is below an entity"
    texts = {
        keyword: entity.attributes[keyword]
        for level in LEVELS
        for keyword in ATTRIBUTES[level]
        if keyword in entity.attributes
    }
    uids = [entity.uids[level] for level in LEVELS[1:]]
    return json_object(texts | {"RetrieveURL": entity_url(request, *uids)}, {})


def _file_types(request: Request, *, is_instance: bool) -> tuple[bool, list[str]]:
    """True if a client wants a single file, no multipart body; and the transfer syntaxes it accepts, none for any."""
    for media in accepted(request):
        whole = is_instance and media.name == DICOM
        if whole or media.part == DICOM or media.name == "*/*" or (media.name == MULTIPART and not media.part):
            syntax = media.parameters.get("transfer-syntax", "*")
            return whole, [] if syntax == "*" else [syntax]
    raise HTTPException(406, f'offered: {MULTIPART}; type="{DICOM}"')


def _frame_syntaxes(request: Request) -> list[str]:
    """Transfer syntaxes in which a client takes frames; none for any. Octets are uncompressed unless it says `*`."""
    for media in accepted(request):
        kind = media.part or media.name
        if kind in (OCTETS, "*/*", MULTIPART, "application/*") or kind.startswith("image/"):
            syntax = media.parameters.get("transfer-syntax", "" if kind == OCTETS else "*")
            return [] if syntax == "*" else [syntax] if syntax else list(NATIVE)
    raise HTTPException(406, f'offered: {MULTIPART}; type="{OCTETS}", or of the image type that is stored')

"""Similar cases from a Lookalike node, by DICOMweb (PS3.18) and with Python's own library only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}
"""Media type of a picture by its first bytes; anything else is taken for DICOM."""
LEVELS = ("study", "series", "instance")
BANDS = (
    (0.0, "same code"),
    (1 / 16, "very much alike"),
    (1 / 8, "alike"),
    (1 / 4, "somewhat alike"),
    (3 / 8, "little alike"),
)
TAGS = {
    "PatientSex": "00100040",
    "PatientAge": "00101010",
    "StudyDate": "00080020",
    "StudyDescription": "00081030",
    "SeriesDescription": "0008103E",
    "Modality": "00080060",
    "BodyPartExamined": "00180015",
    "Manufacturer": "00080070",
    "StudyInstanceUID": "0020000D",
    "SeriesInstanceUID": "0020000E",
    "SOPInstanceUID": "00080018",
}
"""Tags of attributes that a case gives by their keywords; others are given by tag."""
RETURNED = tuple(tag for keyword, tag in TAGS.items() if not keyword.endswith("UID"))
"""What is asked for beside the UIDs, which are always returned."""


class NodeError(Exception):
    """The node does not answer, or refuses.

    Attributes
    ----------
    status
        HTTP status; 0 if there was no answer.
    dimse_status
        As in "C101", where the refusal has one.
    """

    def __init__(self, message: str, status: int = 0, dimse_status: str = "") -> None:
        super().__init__(message)
        self.status, self.dimse_status = status, dimse_status


@dataclass(frozen=True)
class Case:
    """A look-alike: an image of another patient, unless `exclude` allowed others.

    Attributes
    ----------
    rank
        1 is the nearest.
    distance, code_length
        Bits that differ, of how many.
    chance
        Number of images of other patients that lie as near by chance; None where it is not known.
    duplicates
        Near-duplicates that were folded into this case.
    frame
        Frame of the image, counted from 1.
    data_set
        All that was returned, as DICOM JSON.
    """

    rank: int
    distance: int
    code_length: int
    chance: float | None
    duplicates: int
    frame: int
    data_set: Mapping[str, Any]

    def __getitem__(self, attribute: str) -> str:
        """First value of an attribute by keyword or tag as text; "" where it has none."""
        found = self.data_set.get(TAGS.get(attribute, attribute), {}).get("Value", [""])[0]
        return str(found.get("Alphabetic", "")) if isinstance(found, dict) else str(found)

    @property
    def study_instance_uid(self) -> str:
        """Study that holds the image."""
        return self["StudyInstanceUID"]

    @property
    def series_instance_uid(self) -> str:
        """Series that holds the image."""
        return self["SeriesInstanceUID"] or self["00751025"]

    @property
    def sop_instance_uid(self) -> str:
        """The image itself, or the nearest image of the study or series."""
        return self["SOPInstanceUID"] or self["00751024"]

    @property
    def likeness(self) -> str:
        """Likeness in words."""
        share = self.distance / self.code_length
        return next((words for most, words in BANDS if share <= most), "hardly alike")

    @property
    def is_chance(self) -> bool:
        """True if images of other patients lie as near by chance."""
        return self.chance is not None and self.chance >= 1


class Client:
    """A node, by its address.

    Parameters
    ----------
    address
        As in "http://127.0.0.1:8080".
    timeout_s
        Seconds to wait for an answer.
    """

    def __init__(self, address: str, timeout_s: float = 60) -> None:
        if urlsplit(address).scheme not in ("http", "https"):
            raise ValueError(f"{address!r} is no address of a node: write one as http://127.0.0.1:8080")
        self._base, self._timeout_s = address.rstrip("/") + "/dicom-web", timeout_s

    def find(self, level: str = "study", limit: int = 100, **keys: str) -> list[Mapping[str, Any]]:
        """Studies, series or instances whose attributes match, as DICOM JSON.

        Parameters
        ----------
        level
            "study", "series" or "instance".
        keys
            Attributes by keyword, as in `Modality="CT"` or `StudyDate="20200101-20211231"`.
        """
        return self._data_sets(f"/{_plural(level)}?{urlencode({**keys, 'limit': limit})}")

    def similar(
        self,
        sop_instance_uid: str,
        *,
        frame: int | None = None,
        region: Sequence[int] | None = None,
        level: str = "instance",
        limit: int = 5,
        exclude: Sequence[str] = ("SELF", "PATIENT"),
        distinct: str = "PATIENT",
        **keys: str,
    ) -> list[Case]:
        """Look-alikes of an image that the node has indexed, nearest first.

        Parameters
        ----------
        frame
            Frame of the image, counted from 1.
        region
            Part of the image: first column, first row, last column, last row, 1-based and inclusive.
        level
            What is returned: studies, series or instances.
        exclude, distinct
            What is left out, and of what each gives one case at most (conformance statement of the node).
        keys
            Attributes that the cases must have, as in `find`.
        """
        query = _question(limit, exclude, distinct, keys) | {"similarto": sop_instance_uid}
        query |= {} if frame is None else {"frame": str(frame)}
        query |= {} if region is None else {"region": ",".join(map(str, region))}
        return [_case(each) for each in self._data_sets(f"/{_plural(level)}?{urlencode(query)}")]

    def similar_to_file(
        self,
        file: str | Path | bytes,
        *,
        level: str = "instance",
        limit: int = 5,
        exclude: Sequence[str] = ("SELF", "PATIENT"),
        distinct: str = "PATIENT",
        **keys: str,
    ) -> list[Case]:
        """Look-alikes of a DICOM object, PNG or JPEG, nearest first; the node keeps nothing of it.

        Parameters are those of `similar`. Of a picture, `Modality` says what kind of image it is.
        """
        body = file if isinstance(file, bytes) else Path(file).read_bytes()
        kind = next((kind for magic, kind in MEDIA_TYPES.items() if body.startswith(magic)), "application/dicom")
        _plural(level)
        query = _question(limit, exclude, distinct, keys) | {"level": level}
        return [_case(each) for each in self._data_sets(f"/similar?{urlencode(query)}", body, kind)]

    def thumbnail(self, case: Case) -> bytes:
        """Preview of a case as JPEG."""
        path = f"/studies/{case.study_instance_uid}/series/{case.series_instance_uid}/instances/{case.sop_instance_uid}"
        return self._ask(f"{path}/frames/{case.frame}/thumbnail", "image/jpeg")

    def why(self, sop_instance_uid: str, case: Case) -> Mapping[str, Any]:
        """Maps over an image and its look-alike, of values from 0 to 1, and `meaning`, which says what they show."""
        query = urlencode({"query": sop_instance_uid, "match": case.sop_instance_uid, "matchframe": case.frame})
        found: Mapping[str, Any] = json.loads(self._ask(f"/why?{query}", "application/json"))
        return found

    def _data_sets(self, path: str, body: bytes | None = None, kind: str = "") -> list[Mapping[str, Any]]:
        return list(json.loads(self._ask(path, "application/dicom+json", body, kind) or "[]"))

    def _ask(self, path: str, accept: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
        request = Request(self._base + path, body, headers)  # noqa: S310 - the scheme was checked
        try:
            with urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                content: bytes = response.read()
                return content
        except HTTPError as error:
            raise _refusal(error) from error
        except (URLError, HTTPException, OSError) as error:
            raise NodeError(f"the node at {self._base} does not answer: {error}") from error


def _question(limit: int, exclude: Sequence[str], distinct: str, keys: Mapping[str, str]) -> dict[str, str]:
    common = {"limit": str(limit), "exclude": ",".join(exclude), "distinct": distinct}
    return {**common, "includefield": ",".join(RETURNED), **keys}


def _plural(level: str) -> str:
    if level not in LEVELS:
        raise ValueError(f"level is one of {', '.join(LEVELS)}, not {level!r}")
    return level if level == "series" else "studies" if level == "study" else "instances"


def _case(data_set: Mapping[str, Any]) -> Case:
    def number(element: str, default: float = 0) -> float:
        return float(data_set.get(f"007510{element}", {}).get("Value", [default])[0])

    has_chance = bool(data_set.get("0075102A", {}).get("Value"))
    return Case(
        rank=int(number("20")),
        distance=int(number("22")),
        code_length=int(number("23")),
        chance=number("2A") if has_chance else None,
        duplicates=int(number("2B")),
        frame=int(number("26", 1)),
        data_set=data_set,
    )


def _refusal(error: HTTPError) -> NodeError:
    try:
        problem = json.loads(error.read())
    except ValueError:
        problem = {}
    text = problem.get("detail") or problem.get("title") or error.reason
    return NodeError(str(text), error.code, str(problem.get("dimse_status", "")))

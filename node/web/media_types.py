"""Media types: what a client accepts, and which representation it gets (PS3.18 section 8.7)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException

JSON: Final = "application/dicom+json"
XML: Final = "application/dicom+xml"
MULTIPART: Final = "multipart/related"
PARAMETER: Final = re.compile(r';\s*([A-Za-z0-9!#$&^_.+-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;,\s]*)\s*')
NAME: Final = re.compile(r"\s*([A-Za-z0-9!#$&^_.+*-]+/[A-Za-z0-9!#$&^_.+*-]+)\s*")
MAX_RANGES: Final = 64
"""Media ranges of an Accept header that are read."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type, or a range of such.

    Attributes
    ----------
    name
        As in "multipart/related", in small letters.
    parameters
        Values by name in small letters, without quotes.
    """

    name: str
    parameters: Mapping[str, str]

    @property
    def quality(self) -> float:
        """Relative preference of the client, 0 for what it does not take (RFC 9110 section 12.4.2)."""
        try:
            return min(1.0, max(0.0, float(self.parameters.get("q", "1"))))
        except ValueError:
            return 1.0

    @property
    def part(self) -> str:
        """Media type of the parts of a multipart one, "" for another."""
        return self.parameters.get("type", "").lower() if self.name == MULTIPART else ""


def media_types(text: str) -> list[MediaType]:
    """Media types in the value of an Accept or Content-Type header; what is none is left out."""
    found: list[MediaType] = []
    position = 0
    while position < len(text) and len(found) < MAX_RANGES:
        name = NAME.match(text, position)
        if name is None:
            position = (text.find(",", position) + 1) or len(text)
            continue
        position, parameters = name.end(), {}
        while (parameter := PARAMETER.match(text, position)) is not None:
            parameters[parameter[1].lower()] = parameter[2].strip('"')
            position = parameter.end()
        found.append(MediaType(name[1].lower(), parameters))
        position = (text.find(",", position) + 1) or len(text)
    return found


def accepted(request: Request) -> list[MediaType]:
    """Media types that a client accepts, the best first: those of the parameter `accept`, or else of the header."""
    text = request.query_params.get("accept") or request.headers.get("accept") or "*/*"
    return sorted((each for each in media_types(text) if each.quality > 0), key=lambda each: -each.quality)


def choose(request: Request, offered: Sequence[str]) -> str:
    """The first of the offered representations that the client takes best.

    Parameters
    ----------
    offered
        Names such as "image/png"; `XML` means parts of a multipart body, as PS3.18 table 8.7.3-2 has it.

    Raises
    ------
    HTTPException
        406: it takes none of them.
    """
    for wanted in accepted(request):
        for name in offered:
            if _fits(wanted, name):
                return name
    raise HTTPException(406, f"offered: {', '.join(offered)}")


def _fits(wanted: MediaType, name: str) -> bool:
    if name == XML:
        return wanted.part == XML
    family = name.partition("/")[0]
    return wanted.name in ("*/*", f"{family}/*", name) or (name == JSON and wanted.name == "application/json")

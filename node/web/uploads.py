"""Bodies of requests, taken piece by piece as they come, within limits of size and patience."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Final

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from node.web.media_types import MediaType, media_types
from storage.sealed_file import SealedWriter

MIN_BYTES_PER_S: Final = 1024
"""Least speed of a body that takes long: a client must not hold a slot by a byte now and then."""


def content_type(request: Request) -> MediaType:
    """Media type of the body; one without a name where the client gives none."""
    found = media_types(request.headers.get("content-type", ""))
    return found[0] if found else MediaType("", {})


async def pieces(request: Request, max_bytes: int, silence_s: float) -> AsyncIterator[bytes]:
    """Yield the body of a request.

    Raises
    ------
    HTTPException
        413: it has more than `max_bytes`. 408: nothing came for `silence_s` seconds, or less than `MIN_BYTES_PER_S`
        over a longer time. 400: the client went away.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > max_bytes:
        raise HTTPException(413, f"at most {max_bytes} bytes")
    size, stream, begun_s = 0, request.stream(), time.monotonic()
    while True:
        try:
            async with asyncio.timeout(silence_s):
                piece = await anext(stream, None)
        except TimeoutError as error:
            raise HTTPException(408, f"nothing came for {silence_s:g} s") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "the request ended too early") from error
        if piece is None:
            return
        size += len(piece)
        elapsed_s = time.monotonic() - begun_s
        if elapsed_s > silence_s and size < MIN_BYTES_PER_S * elapsed_s:
            raise HTTPException(408, f"less than {MIN_BYTES_PER_S} bytes a second came")
        if size > max_bytes:
            raise HTTPException(413, f"at most {max_bytes} bytes")
        yield piece


async def save(request: Request, file: SealedWriter, max_bytes: int, silence_s: float) -> int:
    """Write the body of a request into a file; return its size in bytes. Raises what `pieces` does."""
    size = 0
    async for piece in pieces(request, max_bytes, silence_s):
        size += file.write(piece)
    file.finish()
    return size

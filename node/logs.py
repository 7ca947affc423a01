"""The log: where lines go, their form, and the request on whose behalf each was written."""

import json
import logging
import re
import secrets
import sys
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler, SysLogHandler
from typing import Final, TextIO

from node.settings import Settings
from storage.durable import create_private, make_private_folder

TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Identifiers that others may give to a request."""
OWN: Final = ("node", "storage", "hashing")
QUOTING: Final = ("pynetdicom.utils", "pynetdicom.fsm")
"""Loggers that write a traceback for each odd octet of a peer; ours say it in a line."""

_request: ContextVar[str] = ContextVar("request", default="")


def begin_request(identifier: str = "") -> Token[str]:
    """Have all that this thread or task logs from now on name a request; give the token to `end_request`.

    Parameters
    ----------
    identifier
        As another program gave it; a new one where it is empty or has an odd character.
    """
    return _request.set(identifier if REQUEST_ID.fullmatch(identifier) else secrets.token_hex(4))


def end_request(token: Token[str]) -> None:
    """Undo `begin_request`."""
    _request.reset(token)


def request_id() -> str:
    """Identifier of the request on whose behalf this thread or task runs; "" where there is none."""
    return _request.get()


def configure_logging(settings: Settings, process: str, stream: TextIO | None = None) -> None:
    """Have this process log as the settings say.

    Of libraries only what went wrong is logged: their lines may hold patient data.

    Parameters
    ----------
    process
        Name of the process, as "dicom-1".
    stream
        Takes the place of standard error.

    Raises
    ------
    OSError
        The files or the syslog cannot be opened.
    """
    handler = _handler(settings, process, stream or sys.stderr)
    is_json = settings.log_format == "json"
    handler.addFilter(_is_wanted)
    handler.setFormatter(JsonFormatter(process) if is_json else TextFormatter(TEXT))
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)
    for name in QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    for package in OWN:
        logging.getLogger(package).setLevel(settings.log_level)


class TextFormatter(logging.Formatter):
    """A line of text, with the request in brackets if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- the library's name
        """Return the line of an event, without its traceback."""
        if request := request_id():
            record.message = f"[{request}] {record.message}"
        return super().formatMessage(record)


class JsonFormatter(logging.Formatter):
    """A JSON object a line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "process": self._process,
            "pid": record.process,
            "logger": record.name,
            "request": request_id(),
            "message": record.getMessage(),
            "exception": self.formatException(record.exc_info) if record.exc_info else "",
        }
        return json.dumps({name: value for name, value in fields.items() if value != ""})


def _is_wanted(record: logging.LogRecord) -> bool:
    """False for a warning of a library, some of which set levels of their own."""
    return record.levelno >= logging.ERROR or record.name.partition(".")[0] in OWN


def _handler(settings: Settings, process: str, stream: TextIO) -> logging.Handler:
    kind, _, address = settings.log_to.partition(":")
    if kind == "files":
        make_private_folder(settings.log_path)
        path = settings.log_path / f"{process}.log"
        create_private(path)
        return RotatingFileHandler(path, "a", settings.log_file_bytes, settings.log_files, "utf-8")
    if kind == "syslog":
        host, _, port = address.rpartition(":")
        syslog = SysLogHandler(address if address.startswith("/") else (host, int(port)), SysLogHandler.LOG_DAEMON)
        syslog.ident = f"lookalike-{process}: "
        return syslog
    return logging.StreamHandler(stream)

"""Audit messages on their way to a collector: syslog over TLS (RFC 5425), from files that outlive any outage."""

import logging
import socket
import ssl
import time
from pathlib import Path
from threading import Event
from typing import Final

from node.access.audit_trail import audit_files
from node.access.tls import client_context
from node.settings import Settings

logger = logging.getLogger(__name__)

LOOK_S: Final = 0.5
RETRY_S: Final = 5.0
TIMEOUT_S: Final = 10.0


class AuditSender:
    """Sends the files of a home folder; one process at a time does.

    Raises
    ------
    node.errors.SettingsError
        A file of TLS is not set or cannot be used.
    """

    def __init__(self, settings: Settings, retry_s: float = RETRY_S) -> None:
        self._folder, self._retry_s = settings.audit_path, retry_s
        host, _, port = settings.audit_collector.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._context = client_context(settings)
        self._connection: ssl.SSLSocket | None = None
        self._is_out_since: float | None = None

    def run(self, stop: Event) -> None:
        """Send what is there and what comes until `stop` is set."""
        while not stop.is_set():
            try:
                self.send_waiting(stop)
                pause_s = LOOK_S
            except OSError as error:
                self._note_outage(error)
                pause_s = self._retry_s
            stop.wait(pause_s)
        self._close()

    def send_waiting(self, stop: Event) -> None:
        """Send every file that waits, oldest first; one is deleted once the collector's machine has taken it.

        Raises
        ------
        OSError
            The collector cannot be reached, or went away: what was not taken stays.
        """
        for path in audit_files(self._folder):
            if stop.is_set():
                return
            self._send(path)

    def _send(self, path: Path) -> None:
        if self._connection is not None and _is_closed(self._connection):
            self._close()
        if self._connection is None:
            plain = socket.create_connection((self._host, self._port), TIMEOUT_S)
            self._connection = self._context.wrap_socket(plain, server_hostname=self._host)
        self._connection.sendall(path.read_bytes())
        if _is_closed(self._connection):  # it may have been taken by nobody
            raise ConnectionResetError("the collector closed the connection")
        path.unlink(missing_ok=True)
        if self._is_out_since is not None:
            logger.info("the audit collector is back after %.0f s", time.monotonic() - self._is_out_since)
            self._is_out_since = None

    def _note_outage(self, error: OSError) -> None:
        self._close()
        if self._is_out_since is None:
            self._is_out_since = time.monotonic()
            logger.error("the audit collector cannot be reached, messages wait: %s", error)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _is_closed(connection: ssl.SSLSocket) -> bool:
    """True if the peer has ended a connection on which it never says anything."""
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except ssl.SSLWantReadError:
        return False
    finally:
        connection.settimeout(TIMEOUT_S)

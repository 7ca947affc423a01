"""The role `web`: the page and its server."""

import http.client
import ipaddress
import logging
import ssl
import threading
from contextlib import ExitStack
from functools import partial
from typing import Any, Final

from node.access.audit_sender import AuditSender
from node.home import open_for_reading
from node.processes import Heartbeat
from node.roles.kernel_cache import load_kernels
from node.roles.threads import vital_thread
from node.settings import Settings
from node.web.app import HEALTH_PATH, serve
from node.web.resources import WebResources

PROBE_EVERY_S: Final = 1.0
PROBE_TIMEOUT_S: Final = 5.0

logger = logging.getLogger(__name__)


def run(settings: Settings, stop: threading.Event, _number: int, heartbeat: Heartbeat) -> None:
    """Serve the page until `stop` is set; the heartbeat is renewed while the page's own server answers."""
    reading = open_for_reading(settings)
    resources = WebResources.of(settings, reading)
    load_kernels(settings.run_path, reading.database.header.code_length)
    with ExitStack() as threads:
        renewing = partial(_renew_while_answering, resources, stop, heartbeat)
        threads.enter_context(vital_thread("heartbeat", stop, renewing))
        if settings.audit_collector:
            threads.enter_context(vital_thread("audit sender", stop, partial(AuditSender(settings).run, stop)))
        serve(resources, stop)


def _renew_while_answering(resources: WebResources, stop: threading.Event, heartbeat: Heartbeat) -> None:
    silent = True  # the server is only just starting
    while not stop.is_set():
        if _answers(resources.settings):
            heartbeat.renew()
            silent = False
        elif not silent:
            logger.error("the page's server does not answer its own role")
            silent = True
        resources.receiver.refusals.write()
        stop.wait(PROBE_EVERY_S)


def _answers(settings: Settings) -> bool:
    address: Any = {"host": _reachable(settings.host), "port": settings.http_port, "timeout": PROBE_TIMEOUT_S}
    if settings.https:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(**address, context=_to_itself())
    else:
        connection = http.client.HTTPConnection(**address)
    try:
        connection.request("GET", HEALTH_PATH)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _to_itself() -> ssl.SSLContext:
    """Context that checks no certificate: the role asks itself, by an address that no certificate names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _reachable(host: str) -> str:
    """Return an address at which a server that listens on `host` answers: that of all interfaces is none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name
        return host
    loopback = {4: "127.0.0.1", 6: "::1"}[address.version]
    return loopback if address.is_unspecified else host

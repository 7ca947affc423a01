"""The application: a table of roles, each a module that is loaded only by the process that runs it."""

import logging
import signal
import threading
from importlib import import_module
from typing import Final

from node.processes import Role, die_with_parent
from node.settings import Settings

MODULES: Final = {Role.INDEX: "node.roles.index", Role.DICOM: "node.roles.dicom", Role.WEB: "node.roles.web"}
"""The index role loads torch and the web role a web server: neither belongs into a receiver's memory."""

logger = logging.getLogger(__name__)


def run_role(role: Role, settings: Settings, number: int = 1) -> None:
    """Run one role in this process until it is told to stop (SIGTERM, SIGINT)."""
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    import_module(MODULES[role]).run(settings, stop, number)
    logger.info("%s ended", role)


def become_role(role: Role, settings: Settings, number: int, supervisor: int) -> None:
    """Run a role as a child of the supervisor, whose process number is given, and end when that process does."""
    die_with_parent(supervisor)
    run_role(role, settings, number)

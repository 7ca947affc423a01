"""The application: a table of roles, each a module that is loaded only by the process that runs it."""

import logging
import signal
from importlib import import_module
from threading import Event
from typing import Final

from node.access.transport import check_transport
from node.home import make_private
from node.metrics import share_metrics
from node.processes import Role, die_with_parent, role_lock
from node.settings import Settings

MODULES: Final = {
    Role.INDEX: "node.roles.index",
    Role.DICOM: "node.roles.dicom",
    Role.WEB: "node.roles.web",
    Role.ANSWER: "node.roles.answer",
    Role.PULL: "node.roles.pull",
}
"""The index role loads torch and the web role a web server: neither belongs into a receiver's memory."""

logger = logging.getLogger(__name__)


def run_role(role: Role, settings: Settings, number: int = 1, supervisor: int | None = None) -> None:
    """Run one role in this process until it receives SIGTERM or SIGINT.

    Parameters
    ----------
    number
        Number of the process among those that share the role, from 1.
    supervisor
        Process number of the supervisor that started this process, which then ends when that one does.

    Raises
    ------
    node.locks.InUseError
        Another process has this role.
    SettingsError
        Something would leave this machine without TLS, and the settings do not say that it may.
    """
    if supervisor is not None:
        die_with_parent(supervisor)
    stop = Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    make_private(settings)
    share_metrics(settings.metrics_path)
    check_transport(settings)
    with role_lock(settings, role, number) as heartbeat:
        import_module(MODULES[role]).run(settings, stop, number, heartbeat)
    logger.info("%s ended", role)

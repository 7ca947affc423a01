"""The role `web`: the page and what it asks."""

import threading

from node.home import open_for_reading
from node.processes import Role, announced
from node.roles.kernel_cache import load_kernels
from node.settings import Settings
from node.web.app import serve


def run(settings: Settings, stop: threading.Event, _number: int) -> None:
    """Serve the page until `stop` is set."""
    reading = open_for_reading(settings)
    load_kernels(settings.run_path, reading.database.header.code_length)
    with announced(settings, Role.WEB):
        serve(settings, reading, stop)

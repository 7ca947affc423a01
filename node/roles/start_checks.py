"""What is tried before any role is started: a fault that roles would only meet one after the other, again and again."""

import errno
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from node.access.transport import check_transport
from node.errors import SettingsError
from node.home import open_spool
from node.processes import Role, processes, role_lock
from node.settings import Settings

GPU_CHECK_S = 120
COUNT_GPUS = "import torch; print(torch.cuda.device_count())"


def check_start(settings: Settings, roles: tuple[Role, ...]) -> None:
    """Return if the roles of a home folder can be started; the folder itself is locked and private already.

    Raises
    ------
    SettingsError
        What is wrong, and what to do.
    node.locks.InUseError
        A role of this home folder runs by itself.
    """
    for role in roles:
        for number in processes(settings, role):
            with role_lock(settings, role, number):
                pass
    check_transport(settings)
    check_port(settings, "port")
    if settings.tls_port:
        check_port(settings, "tls_port")
    check_port(settings, "http_port")
    for folder in (settings.run_path, settings.spool_path, settings.database_path):
        _check_writable(folder)
    check_disk(settings)
    check_encoder(settings)


def check_port(settings: Settings, name: str) -> None:
    """Return if we can listen on a port, named by its setting.

    Receivers share the DICOM port among themselves, and would share it with those of another node, too.

    Raises
    ------
    SettingsError
        What is wrong, and what to do.
    """
    port = getattr(settings, name)
    host = settings.plain_dicom_host if name == "port" else settings.host
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            advice = _advice(error, name)
            raise SettingsError(f"cannot listen on {host}:{port}: {error.strerror}; {advice}") from error


def _advice(error: OSError, name: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"stop the program that has this port, or choose another (--{name.replace('_', '-')})"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 need a privilege: choose a larger one, or grant CAP_NET_BIND_SERVICE"
    return "--host must be an address of this machine, or 0.0.0.0 for all of them"


def check_disk(settings: Settings) -> None:
    """Return if senders would be served; a spool that still holds instances may be emptied on a full disk, too.

    Raises
    ------
    SettingsError
        What is wrong, and what to do.
    """
    free = shutil.disk_usage(settings.spool_path).free
    if free >= settings.spool_free_bytes or open_spool(settings).depth():
        return
    raise SettingsError(
        f"{settings.spool_path} has {free / 1e9:.2f} GB of disk left, and senders are refused below "
        f"{settings.spool_free_bytes / 1e9:.2f} GB: free some, or lower spool_free_bytes"
    )


def check_encoder(settings: Settings) -> None:
    """Return if the device and the library that encode are there.

    Raises
    ------
    SettingsError
        What is wrong, and what to do.
    """
    if settings.encoder_backend == "openvino":
        if settings.device.startswith("cuda"):
            raise SettingsError(
                "encoder_backend openvino runs on a CPU only: set device to cpu, or encoder_backend auto"
            )
        if find_spec("openvino") is None:
            raise SettingsError(
                "encoder_backend openvino is not installed: pip install 'lookalike[openvino]', or set it to auto"
            )
    if settings.device.startswith("cuda"):
        gpus = _count_gpus()
        number = int(settings.device.partition(":")[2] or 0)
        if number >= gpus:
            raise SettingsError(f"device {settings.device}: torch sees {gpus} GPUs; set device to auto or cpu")


def _count_gpus() -> int:
    """Ask torch in another process: loaded here, it would stay in memory for the life of the supervisor."""
    command = [sys.executable, "-P", "-c", COUNT_GPUS]
    gpus = subprocess.run(command, capture_output=True, text=True, timeout=GPU_CHECK_S, check=False)
    return int(gpus.stdout) if gpus.returncode == 0 else 0


def _check_writable(folder: Path) -> None:
    try:
        _write_nothing(folder)
    except OSError as error:
        user, todo = f"user {os.geteuid()}", "give it to this user, or choose another home folder (--home)"
        raise SettingsError(f"{folder} cannot be written by {user}: {error.strerror}; {todo}") from error


def _write_nothing(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder):
        return

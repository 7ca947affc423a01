"""Orthanc as an archive: filled over its REST interface, asked over DICOM."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.running import free_port, program, wait_until


class Orthanc:
    """A running Orthanc."""

    def __init__(self, http_port: int, port: int) -> None:
        self.url, self.port = f"http://127.0.0.1:{http_port}", port

    def call(self, path: str, body: bytes | None = None) -> Any:
        """GET, or POST of a body."""
        with urllib.request.urlopen(f"{self.url}{path}", data=body, timeout=60) as response:
            return json.loads(response.read())

    def modify(self, identifier: str, replace: Mapping[str, str], keep: Sequence[str]) -> None:
        """Replace attributes of the patient or study that an identifier names, as its user does to correct them."""
        wanted = {"Replace": replace, "Keep": keep, "Force": True, "KeepSource": False, "Synchronous": True}
        self.call(f"{self._path(identifier)}/modify", json.dumps(wanted).encode())

    def delete(self, identifier: str) -> None:
        """Delete the patient, study, series or image that an identifier names."""
        request = urllib.request.Request(f"{self.url}{self._path(identifier)}", method="DELETE")
        urllib.request.urlopen(request, timeout=60).close()

    def _path(self, identifier: str) -> str:
        (found,) = self.call("/tools/lookup", identifier.encode())
        return str(found["Path"])

    def answers(self) -> bool:
        """Whether it is up."""
        try:
            return bool(self.call("/system"))
        except OSError:
            return False


@contextmanager
def running_orthanc(
    folder: Path, modalities: Mapping[str, tuple[str, int]], ports: tuple[int, int] | None = None, **options: Any
) -> Iterator[Orthanc]:
    """An Orthanc that knows these application entities of this machine: AE title and port by its name for them.

    Parameters
    ----------
    ports
        Of HTTP and DICOM, for an archive that comes back in the same folder; by default free ones.
    options
        Further options of its configuration.
    """
    archive = Orthanc(*(ports or (free_port(), free_port())))
    folder.mkdir(exist_ok=True)
    settings = {
        "StorageDirectory": str(folder),
        "IndexDirectory": str(folder),
        "HttpPort": int(archive.url.rsplit(":", 1)[1]),
        "DicomPort": archive.port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomModalities": {name: [title, "127.0.0.1", port] for name, (title, port) in modalities.items()},
        **options,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    command = [program("Orthanc"), str(folder / "orthanc.json")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}, stdout=log, stderr=log) as process,
    ):
        try:
            wait_until(archive.answers, "Orthanc to start")
            yield archive
        finally:
            process.terminate()

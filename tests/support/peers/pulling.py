"""Jobs that bring in studies, in this process: a real archive on the other side, the spool and a database on ours."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pynetdicom import AE

from node.corrections.corrector import Corrector
from node.corrections.order_book import Answer, OrderBook, OrderKind
from node.dicom.listener import Listener
from node.ingest.pressure import Pressure
from node.ingest.receiver import Receiver
from node.ingest.refusals import Refusals
from node.options.pull import PullJob
from node.pull.jobs import change_state, make_job, open_progress
from node.roles.pull import JobCrew
from node.settings import Settings
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from storage.progress.entry import StudyState
from storage.progress.job import Job, JobState
from storage.progress.progress import Progress
from storage.spool.queue import Spool
from tests.support.dicom.answering import AMPLE_BYTES
from tests.support.dicom.listening import Everybody
from tests.support.hashing.images import image
from tests.support.peers.orthanc import Orthanc
from tests.support.running import free_port, wait_until
from tests.support.storage.databases import create

PIXELS = np.arange(64, dtype=np.uint8).reshape(8, 8)


def study_of(number: int, images: int = 2, **attributes: Any) -> list[Dataset]:
    """Images of one study in two series; attributes by keyword, for all of them."""
    study = f"2.25.77{number:05d}"
    given = {"PatientID": f"P{number:05d}", "PatientName": f"Doe^{number}", "StudyDate": "20200101", "StudyID": "1"}
    given |= {"Modality": "OT", "StudyTime": f"{number % 24:02d}0000", "StudyDescription": "Chest"} | attributes
    found = []
    for index in range(images):
        series = f"{study}.{1 + index % 2}"
        uids = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": f"{series}.{index}"}
        dataset = image(PIXELS, **uids, **given, InstanceNumber=str(index))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        found.append(dataset)
    return found


def octets(dataset: Dataset) -> bytes:
    """Bytes of the file of a data set."""
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def fill(orthanc: Orthanc, datasets: list[Dataset]) -> set[str]:
    """Store images in Orthanc, and return their SOP Instance UIDs."""
    for dataset in datasets:
        orthanc.call("/instances", octets(dataset))
    return {dataset.SOPInstanceUID for dataset in datasets}


@dataclass
class Site:
    """A home folder without a node: the spool collects what comes, and nothing takes it out."""

    settings: Settings
    progress: Progress
    database: Database
    spool: Spool
    receiver: Receiver

    @property
    def received(self) -> list[str]:
        """SOP Instance UIDs of everything that came, each as often as it came."""
        return sorted(entry.sop_instance_uid for entry in self.spool)

    def begin(self, name: str = "history", **definition: Any) -> Job:
        """Make and start a job."""
        job = make_job(self.settings, self.progress, name, PullJob(**{"source": "PACS", **definition}))
        return change_state(self.progress, job.name, JobState.RUNNING)

    @contextmanager
    def working(self) -> Iterator[threading.Event]:
        """Run the jobs, as the role does, while the block runs; setting the event ends them sooner."""
        stop, crew = threading.Event(), self.crew()

        def work() -> None:
            while not stop.is_set():
                crew.look()
                stop.wait(0.05)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield stop
        finally:
            stop.set()
            thread.join()
            crew.join()

    def crew(self) -> JobCrew:
        """Return what runs the jobs."""
        return JobCrew(self.settings, self.progress, self.database, self.spool, self.receiver, self.carry_out)

    def carry_out(self, kind: OrderKind, **fields: object) -> Answer:
        """Carry an order out, as the role `index` does."""
        orders = OrderBook(self.settings.corrections_path)
        name = orders.put(kind, **fields)
        objects = ObjectStore(self.settings.objects_path)
        Corrector(self.database, orders, self.spool, objects).carry_out_all(threading.Event())
        answer = orders.take_answer(name)
        assert answer is not None
        return answer

    def run(self, job: Job, limit_s: float = 60) -> None:
        """Run the jobs until one of them is complete."""
        with self.working():
            self.wait_complete(job, limit_s)

    def wait_complete(self, job: Job, limit_s: float = 60) -> None:
        """Wait until a job is complete."""
        wait_until(
            lambda: self.progress.job_at(job.number).state is JobState.COMPLETE, f"{job.name} to be complete", limit_s
        )

    def states(self, job: Job) -> dict[StudyState, int]:
        """Number of studies by state."""
        counts = self.progress.counts(job)
        return {StudyState.DONE: counts.done, StudyState.PARKED: counts.parked, StudyState.WAITING: counts.waiting}


@contextmanager
def site(home: Path, archive_port: int, url: str = "", listens: bool = False, **values: Any) -> Iterator[Site]:
    """A home folder whose archive PACS listens at `archive_port` of this machine.

    Parameters
    ----------
    listens
        True if the archive can send to us, at the port in the settings.
    """
    peer: Mapping[str, Any] = {"host": "127.0.0.1", "port": archive_port, "dicomweb_url": url}
    quick = {"peer_timeout_s": 5, "pull_retry_s": 0.2, "pull_max_pause_s": 1, "longest_delay_s": 0}
    chosen: dict[str, Any] = {"port": free_port(), "receiver_memory_bytes": AMPLE_BYTES, "spool_free_bytes": 0}
    settings = Settings(home=home, **{**quick, **chosen, "pull_max_waiting": 10**6, "peers": {"PACS": peer}, **values})
    home.mkdir(exist_ok=True)
    settings.run_path.mkdir(exist_ok=True)
    spool = Spool(settings.spool_path, 10**6, 0)
    receiver = Receiver(spool, Pressure(spool, settings), Refusals(settings.run_path, 1))
    listener = None
    if listens:
        listener = Listener(AE(settings.ae_title), ("127.0.0.1", settings.port), receiver, Everybody())
    progress, database = open_progress(settings), create(settings.database_path)
    try:
        yield Site(settings, progress, database, spool, receiver)
    finally:
        if listener is not None:
            listener.stop()
        progress.close()
        database.close()

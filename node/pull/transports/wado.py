"""Fetching by WADO-RS (PS3.18 10.4), with the library dicomweb-client."""

from collections.abc import Iterator, Sequence
from ssl import get_default_verify_paths
from typing import TYPE_CHECKING, Any

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom.dsutils import encode

from node.dicom.command_set import C_STORE_RQ, Request
from node.dicom.message_reader import InstanceStore
from node.errors import PeerError, SettingsError
from node.options.pull import PullJob
from node.pull.politeness.budget import Budget
from node.pull.search.archive import Archive
from node.pull.transports.transport import Batch, CountedStore, Delivery

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient

MISSING = "WADO-RS needs the library dicomweb-client: pip install 'lookalike[pull]'"


class WadoTransport:
    """Fetches by WADO-RS (a `Transport`).

    Raises
    ------
    SettingsError
        The library is not installed, or the archive has no `dicomweb_url`.
    """

    def __init__(self, archive: Archive, url: str, job: PullJob, receiver: InstanceStore, budget: Budget) -> None:
        if not url:
            raise SettingsError(f"peers.{job.source}.dicomweb_url is empty: WADO-RS needs it")
        try:
            import dicomweb_client  # noqa: F401 -- an extra
        except ImportError as error:
            raise SettingsError(MISSING) from error
        self._archive, self._url, self._job, self._receiver, self._budget = archive, url, job, receiver, budget

    def fetch(self, study_instance_uid: str, batches: Sequence[Batch], delivery: Delivery) -> None:
        """Fetch batches, and count what came against what was listed: partial content is no error of HTTP."""
        import requests

        store = CountedStore(self._receiver, self._budget, delivery)
        client = self._client()
        for batch in batches:
            self._archive.check()
            try:
                for dataset in _datasets(client, study_instance_uid, batch):
                    self._store(dataset, store, delivery)
                    self._archive.check()
            except requests.HTTPError as error:
                status = error.response.status_code if error.response is not None else "unknown"
                delivery.note(f"HTTP status {status}")
            except (requests.RequestException, OSError, ValueError) as error:
                raise PeerError(f"the DICOMweb of {self._job.source} fails: {type(error).__name__}") from error

    def _client(self) -> "DICOMwebClient":
        from dicomweb_client import DICOMwebClient
        from requests import Session

        session = Session()
        session.trust_env = False  # else the environment's authorities, or a user in .netrc, go before the job's
        of_system = get_default_verify_paths()
        authorities = self._job.authority or of_system.cafile or of_system.capath
        session.verify = str(authorities) if authorities else True
        if self._job.certificate:
            session.cert = str(self._job.certificate)
        headers = {}
        if self._job.token_file:
            headers["Authorization"] = f"Bearer {self._job.token_file.read_text().strip()}"
        client = DICOMwebClient(self._url, session, headers=headers, permissive_uid=True)
        client.set_http_retry_params(retry=False)  # retries are ours: counted, and with pauses
        return client

    def _store(self, dataset: Dataset, store: CountedStore, delivery: Delivery) -> None:
        syntax = UID(dataset.file_meta.TransferSyntaxUID)
        encoded = encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
        if encoded is None:
            delivery.note("an instance cannot be written again")
            return
        request = Request(C_STORE_RQ, 1, str(dataset.SOPClassUID), str(dataset.SOPInstanceUID), True)
        sink = store.begin(request, syntax, self._job.source)
        sink.write(memoryview(encoded))
        sink.finish()


def _datasets(client: "DICOMwebClient", study: str, batch: Batch) -> Iterator[Dataset]:
    """Yield the instances of a batch, in whatever transfer syntax the archive stores them."""
    media_types: Any = (("application/dicom", "*"),)
    if batch.is_whole_series:
        yield from client.iter_series(study, batch.series_instance_uid, media_types=media_types)
        return
    for one in batch.instances:
        yield client.retrieve_instance(study, batch.series_instance_uid, one.sop_instance_uid, media_types=media_types)

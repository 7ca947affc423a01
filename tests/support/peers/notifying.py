"""An archive that notifies the node of instances (PS3.4 annex R)."""

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, build_context
from pynetdicom.sop_class import InstanceAvailabilityNotification  # type: ignore[attr-defined]

from tests.support.dicom.key_objects import item
from tests.support.running import RunningNode


def notified(node: RunningNode, image: Dataset, availability: str) -> bool:
    """True once an Instance Availability Notification of one image is acknowledged."""
    reference = item(
        ReferencedSOPClassUID=image.SOPClassUID,
        ReferencedSOPInstanceUID=image.SOPInstanceUID,
        InstanceAvailability=availability,
        RetrieveAETitle="PACS",
    )
    series = item(SeriesInstanceUID=image.SeriesInstanceUID, ReferencedSOPSequence=Sequence([reference]))
    told = item(
        StudyInstanceUID=image.StudyInstanceUID,
        ReferencedPerformedProcedureStepSequence=Sequence(),
        ReferencedSeriesSequence=Sequence([series]),
    )
    ae, settings = AE("PACS"), node.settings
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = 20
    contexts = [build_context(InstanceAvailabilityNotification)]
    association = ae.associate(settings.host, settings.port, contexts, settings.ae_title)
    if not association.is_established:
        return False
    status = association.send_n_create(told, InstanceAvailabilityNotification, "2.25.7")[0]
    association.release()
    return bool(status.get("Status") == 0)

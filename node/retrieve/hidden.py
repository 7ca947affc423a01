"""Rejected instances stay out of retrievals, too, as far as these name or pass through the node."""

from pydicom.dataset import Dataset

from storage.database.database import Database


class HiddenInstances:
    """What rejection notes hide from retrievals."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __contains__(self, sop_instance_uid: object) -> bool:
        """Whether an instance is in no answer: rejected, and not stored again since."""
        with self._database.snapshot() as snapshot:
            return snapshot.is_hidden(str(sop_instance_uid))

    def remove_from(self, identifier: Dataset) -> bool:
        """Remove hidden instances from the SOP Instance UIDs of an identifier; False if it named no others."""
        value = identifier.get("SOPInstanceUID") or []
        named = [value] if isinstance(value, str) else list(value)
        visible = [uid for uid in named if uid not in self]
        if len(visible) < len(named):
            identifier.SOPInstanceUID = visible
        return bool(visible) or not named

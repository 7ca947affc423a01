"""What the node has already: indexed, waiting in the spool, set aside, or kept out of answers."""

from collections.abc import Iterable, Sequence

from storage.database.database import Database
from storage.record import Level
from storage.spool.queue import Spool


class Holdings:
    """Instances that need not be fetched."""

    def __init__(self, database: Database, spool: Spool) -> None:
        self._database, self._spool = database, spool

    def lacking(self, sop_instance_uids: Iterable[str]) -> set[str]:
        """Return those that the node does not have; what was set aside it has received, with the reason."""
        waiting = {entry.sop_instance_uid for entry in self._spool}  # before the database: there they go
        unseen = {uid for uid in sop_instance_uids if uid not in waiting}
        with self._database.snapshot() as snapshot:
            unseen = {
                uid for uid in unseen if snapshot.ordinal(Level.IMAGE, uid) is None and not snapshot.is_hidden(uid)
            }
        return {uid for uid in unseen if self._spool.is_set_aside(uid) is None}

    def announced(self) -> list[tuple[str, Sequence[str]]]:
        """Return each study that an archive announced, with the SOP Instance UIDs of the instances."""
        with self._database.snapshot() as snapshot:
            return list(snapshot.rejections.all_expected())

    def waiting_bytes(self, sop_instance_uids: Iterable[str]) -> dict[str, int]:
        """Size of those that wait in the spool, bytes by UID."""
        wanted, sizes = set(sop_instance_uids), {}
        for entry in self._spool:
            if entry.sop_instance_uid in wanted:
                try:
                    sizes[entry.sop_instance_uid] = entry.path.stat().st_size
                except FileNotFoundError:  # indexed meanwhile
                    continue
        return sizes

"""Original objects of indexed instances are kept, where the setting `retain` says so."""

from collections.abc import Sequence

from storage.corrections.rejecting import may_return
from storage.database.database import Database
from storage.objects.object_store import ObjectStore
from storage.record import Record
from storage.spool.queue import Entry


def keep_originals(
    database: Database, objects: ObjectStore, arrived: Sequence[tuple[Entry, Record]], *, replaces: bool
) -> None:
    """Keep the files of instances that are stored, or withheld so that they can be restored; durable in the end.

    The first object of an instance stays.

    Parameters
    ----------
    arrived
        Entries of the spool, with what was stored of them.
    replaces
        True if the object that arrived last takes the place of an earlier one.

    Raises
    ------
    OSError
        Such as a full disk: all can be kept again.
    """
    kept = objects.kept({record.sop_instance_uid for _, record in arrived})
    chosen = {}
    with database.snapshot() as snapshot:
        for entry, record in arrived:
            uid = record.sop_instance_uid
            stored = snapshot.record(uid)
            is_first = uid not in kept and uid not in chosen
            is_latest = stored is None or stored.received_ns <= record.received_ns
            if may_return(snapshot, uid) and (is_first or (replaces and is_latest)):
                chosen[uid] = entry.path
    objects.keep(chosen)

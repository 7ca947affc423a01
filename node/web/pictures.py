"""Which pictures a caller may see: text that names a patient may be part of one."""

from node.errors import Refusal, Status
from node.options.access import Disclosure
from node.results.cases import may_show_identity
from storage.database.snapshot import Snapshot
from storage.record import Level


def check_picture(snapshot: Snapshot, sop_instance_uid: str, disclosure: Disclosure) -> None:
    """Raise a refusal (0124) if the picture of an instance may show more than the caller may see."""
    if disclosure is Disclosure.FULL:
        return
    image = snapshot.entity(Level.IMAGE, sop_instance_uid)
    if image is None or may_show_identity(image.attributes):
        raise Refusal(Status.NOT_AUTHORIZED, "this picture may show a name: not for this caller")

"""What every way of fetching instances has in common."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Protocol

from pydicom.dataset import Dataset
from pydicom.uid import UID

from node.dicom.command_set import Request
from node.dicom.message_reader import InstanceStore
from node.dicom.message_sink import DataSink
from node.errors import Refusal, Status, printable
from node.pull.politeness.budget import Budget
from node.pull.search.listing import ListedInstance
from node.retrieve.caller import SubOperations

UIDS_AT_ONCE: Final = 100
"""Instances that one request names."""


@dataclass(slots=True)
class Delivery:
    """The instances that one attempt brought in, and the problems that it met.

    Attributes
    ----------
    uids
        SOP Instance UIDs of what is durable here, as far as this process knows.
    size_bytes
        Bytes of their data sets.
    problems
        What the archive said of those that failed, each once; no patient data.
    """

    uids: set[str] = field(default_factory=set)
    size_bytes: int = 0
    problems: dict[str, None] = field(default_factory=dict)

    def note(self, problem: str) -> None:
        """Add a problem."""
        self.problems[printable(problem, 200)] = None


class Transport(Protocol):
    """Fetches instances of a study from one archive."""

    def fetch(self, study_instance_uid: str, batches: Sequence["Batch"], delivery: Delivery) -> None:
        """Fetch batches, and add what came to a delivery.

        Raises
        ------
        PeerError
            The archive cannot be reached, or went away.
        PullStoppedError
            The job may not go on now.
        """


@dataclass(frozen=True, slots=True)
class Batch:
    """Instances of one series that one request names.

    Attributes
    ----------
    is_whole_series
        True if the series has no others.
    """

    series_instance_uid: str
    instances: tuple[ListedInstance, ...]
    is_whole_series: bool = False

    def identifier(self, study_instance_uid: str) -> Dataset:
        """Identifier of a C-GET or C-MOVE (PS3.4 C.4.2.1.4, C.4.3.1.3)."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "SERIES" if self.is_whole_series else "IMAGE"
        identifier.StudyInstanceUID, identifier.SeriesInstanceUID = study_instance_uid, self.series_instance_uid
        if not self.is_whole_series:
            identifier.SOPInstanceUID = [one.sop_instance_uid for one in self.instances]
        return identifier


def batches_of(
    wanted: Sequence[ListedInstance], listed: Sequence[ListedInstance], size: int = UIDS_AT_ONCE
) -> Iterator[Batch]:
    """Yield requests for instances: whole series where all of one is wanted and fits, else lists of UIDs.

    Parameters
    ----------
    size
        Number of instances that a request may name; 1 to ask for each alone.
    """
    in_series = {uid: len(list(group)) for uid, group in groupby(listed, key=lambda one: one.series_instance_uid)}
    for uid, group in groupby(wanted, key=lambda one: one.series_instance_uid):
        some = list(group)
        if len(some) == in_series.get(uid) and 1 < len(some) <= size:
            yield Batch(uid, tuple(some), is_whole_series=True)
            continue
        for start in range(0, len(some), size):
            yield Batch(uid, tuple(some[start : start + size]))


def problem_of(status: int, counts: SubOperations, comment: str) -> str:
    """What a final response complains of; "" if it does not."""
    failed = counts.failed or 0
    if status == Status.SUCCESS and not failed:
        return ""
    told = f"status {status:04X}" + (f", {failed} failed" if failed else "")
    return f"{told}: {comment}" if comment else told


class CountedStore:
    """Passes instances on to a receiver, no faster than a budget, and notes what is durable (an `InstanceStore`)."""

    def __init__(self, receiver: InstanceStore, budget: Budget, delivery: Delivery) -> None:
        self._receiver, self._budget, self._delivery = receiver, budget, delivery

    def begin(self, request: Request, transfer_syntax: UID, sending_ae_title: str) -> "CountedInstance":
        """Let one instance arrive."""
        sink = self._receiver.begin(request, transfer_syntax, sending_ae_title)
        return CountedInstance(sink, request.sop_instance_uid, self._budget, self._delivery)

    def note(self, request: Request, refusal: Refusal, sending_ae_title: str) -> None:
        """Count a request that is refused."""
        self._receiver.note(request, refusal, sending_ae_title)


class CountedInstance:
    """One instance on its way (a `DataSink`)."""

    def __init__(self, sink: DataSink, sop_instance_uid: str, budget: Budget, delivery: Delivery) -> None:
        self._sink, self._uid, self._budget, self._delivery = sink, sop_instance_uid, budget, delivery
        self._size_bytes = 0

    def write(self, piece: memoryview) -> None:
        """Take the next piece once the budget allows; meanwhile the archive waits."""
        self._sink.write(piece)
        self._size_bytes += len(piece)
        self._budget.take(len(piece))

    def finish(self) -> Refusal | None:
        """Make the instance durable, and note it."""
        refusal = self._sink.finish()
        if refusal is None:
            self._delivery.uids.add(self._uid)
            self._delivery.size_bytes += self._size_bytes
        else:
            self._delivery.note(f"refused here: {refusal}")
        return refusal

    def abandon(self) -> None:
        """Drop what came."""
        self._sink.abandon()

"""A snapshot of the database as searches read it: block addresses and segments beside the records."""

from storage.database.blocks import Layout
from storage.database.snapshot import Snapshot
from storage.search.addresses import AddressCache, BlockAddresses
from storage.segments.registry import SegmentRegistry
from storage.segments.segment_file import Segment


class LocalSnapshot:
    """One state of the local index; it ends with the snapshot of the database that it was made from.

    Attributes
    ----------
    records
        The snapshot of the database.
    """

    def __init__(self, records: Snapshot, cache: AddressCache, registry: SegmentRegistry) -> None:
        self.records, self._cache, self._registry = records, cache, registry
        self._addresses: BlockAddresses | None = None

    @property
    def rows(self) -> int:
        """Number of rows, including those marked deleted."""
        return self.records.rows

    @property
    def code_length(self) -> int:
        """Bits of each code."""
        return self.records.code_length

    @property
    def layout(self) -> Layout:
        """How the rows are cut into blocks."""
        return self.records.layout

    @property
    def addresses(self) -> BlockAddresses:
        """Addresses of codes and columns.

        Raises
        ------
        SnapshotError
            The snapshot has ended, and the addresses with it.
        """
        commit = self.records.commit
        if self._addresses is None:
            self._addresses = BlockAddresses(self.records, self._cache.of(commit))
        return self._addresses

    @property
    def segments(self) -> list[Segment]:
        """Checked segments that together hold the rows from the first on; the rows behind them have to be scanned."""
        return self._registry.serving(self.records.segment_entries)

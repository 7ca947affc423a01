"""A connection to Milvus: made when it is needed, made again after a failure, and never without a time limit."""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final, TypeVar

import grpc
from pymilvus import CollectionSchema, DataType, MilvusClient, MilvusException

from storage.errors import IndexMismatch, IndexUnavailable
from storage.search.milvus.options import Consistency, MilvusOptions, PartitionKey, VectorIndex
from storage.search.milvus.rows import NUMBERS, TEXTS, Row

logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs expressions, and these name patients

Result = TypeVar("Result")

FORMAT: Final = 1
"""Number of the form of a collection; a change of any field raises it."""
MAX_ROWS: Final = 16_384
"""Rows that Milvus returns for one query."""


@dataclass(frozen=True, slots=True)
class CodeOrigin:
    """What the codes of a collection are.

    Attributes
    ----------
    code_length
        Bits of a code.
    model
        Fingerprint of the model that made the codes.
    """

    code_length: int
    model: str

    def described(self) -> str:
        """Text that a collection is described by."""
        return json.dumps({"format": FORMAT, "code_length": self.code_length, "model": self.model})


class Connection:
    """A collection of a Milvus server, made if there is none.

    Used by many threads at a time. Every method raises IndexUnavailable if the server does not answer in time, and
    IndexMismatch if the collection is of other codes; the next call tries again.
    """

    def __init__(self, options: MilvusOptions, origin: CodeOrigin) -> None:
        self.options, self.origin = options, origin
        self._client: MilvusClient | None = None
        self._all_lists: dict[str, int] = {}
        self._lock = Lock()

    def search(self, codes: Sequence[bytes], limit: int, where: str, fields: Sequence[str]) -> list[list[Row]]:
        """Return, for each code, the nearest rows in ascending distance, each with its distance and some fields."""
        found = self._call(
            lambda client: client.search(
                self.options.collection,
                list(codes),
                where,
                limit=limit,
                output_fields=list(fields),
                search_params={"metric_type": "HAMMING", "params": self._all_lists},
                consistency_level=self.options.consistency,
                timeout=self.options.timeout_s,
            )
        )
        return [[{"distance": round(hit["distance"]), **hit["entity"]} for hit in hits] for hits in found]

    def query(self, where: str, fields: Sequence[str], consistency: Consistency | None = None) -> list[Row]:
        """Return some fields of every row that fulfils an expression, by the consistency of the options or another."""
        rows = self._call(
            lambda client: client.query(
                self.options.collection,
                where,
                list(fields),
                consistency_level=consistency or self.options.consistency,
                timeout=self.options.timeout_s,
            )
        )
        return [row | {"code": row["code"][0]} if "code" in row else row for row in rows]  # a list of one

    def wait_visible(self) -> None:
        """Wait until everything that was written before can be read."""
        self.query('key == ""', ["key"], Consistency.STRONG)

    def count(self, where: str) -> int:
        """Return how many rows fulfil an expression."""
        return int(self.query(where, ["count(*)"])[0]["count(*)"])

    def upsert(self, rows: Sequence[Row]) -> None:
        """Write rows over those of the same key, durably; of rows of one key the last counts."""
        last = {row["key"]: row for row in rows}
        if not last:
            return
        name, timeout_s = self.options.collection, self.options.timeout_s
        if self.options.partition_key == PartitionKey.NONE:
            self._call(lambda client: client.upsert(name, list(last.values()), timeout=timeout_s))
            return
        # an upsert of Milvus 2.3 puts rows into other partitions than those that a search by the key reads
        self._call(lambda client: client.delete(name, ids=list(last), timeout=timeout_s))
        self._call(lambda client: client.insert(name, list(last.values()), timeout=timeout_s))

    def delete(self, where: str) -> None:
        """Delete the rows that fulfil an expression, durably."""
        name, timeout_s = self.options.collection, self.options.timeout_s
        self._call(lambda client: client.delete(name, filter=where, timeout=timeout_s))

    def check(self) -> None:
        """Raise IndexUnavailable unless the collection can be read."""
        self.query('key == ""', ["key"])

    def flush(self) -> None:
        """Let Milvus seal what was written into segments that it indexes."""
        self._call(lambda client: client.flush(self.options.collection, timeout=self.options.timeout_s))

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _call(self, function: Callable[[MilvusClient], Result]) -> Result:
        try:
            return function(self._connected())
        except (MilvusException, grpc.RpcError) as error:
            self.close()  # whatever it is: a fresh connection has a fresh view of the collection
            raise IndexUnavailable(self.options.uri, _reason(error)) from None

    def _connected(self) -> MilvusClient:
        with self._lock:
            if self._client is None:
                client = MilvusClient(self.options.uri, token=self.options.token, timeout=self.options.timeout_s)
                try:
                    _prepare(client, self.options, self.origin)
                    self._all_lists = _all_lists(client, self.options)
                except BaseException:
                    client.close()
                    raise
                self._client = client
            return self._client


def _reason(error: Exception) -> str:
    """Kind and code of an error: its text may hold the expression, which names patients."""
    return f"{type(error).__name__} {getattr(error, 'code', '')}".strip()


def _prepare(client: MilvusClient, options: MilvusOptions, origin: CodeOrigin) -> None:
    """Make the collection if there is none, and refuse that of other codes."""
    name, timeout_s = options.collection, max(options.timeout_s, 30.0)  # loading a large one takes longer than a search
    if not client.has_collection(name, timeout=timeout_s):
        _create(client, options, origin, timeout_s)
    found = client.describe_collection(name, timeout=timeout_s)["description"]
    if found != origin.described():
        raise IndexMismatch(name, found or "something else", origin.described())
    client.load_collection(name, timeout=timeout_s, replica_number=options.replicas)


def _all_lists(client: MilvusClient, options: MilvusOptions) -> dict[str, int]:
    """Parameters by which a search reads each list of the collection's index, however many the options want today."""
    name, timeout_s = options.collection, options.timeout_s
    (index,) = client.list_indexes(name, field_name="code", timeout=timeout_s)
    lists = client.describe_index(name, index, timeout=timeout_s).get("nlist")
    return {} if lists is None else {"nprobe": int(lists)}


def _create(client: MilvusClient, options: MilvusOptions, origin: CodeOrigin, timeout_s: float) -> None:
    indexes = MilvusClient.prepare_index_params()
    lists = {"nlist": options.lists} if options.vector_index == VectorIndex.IVF else {}
    indexes.add_index("code", index_type=options.vector_index, metric_type="HAMMING", params=lists)
    is_keyed = options.partition_key != PartitionKey.NONE
    keyed: dict[str, Any] = {"num_partitions": options.partitions} if is_keyed else {}
    client.create_collection(
        options.collection,
        schema=_schema(options, origin),
        index_params=indexes,
        num_shards=options.shards,
        consistency_level=options.consistency,
        timeout=timeout_s,
        **keyed,
    )


def _schema(options: MilvusOptions, origin: CodeOrigin) -> CollectionSchema:
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False, description=origin.described())
    schema.add_field("key", DataType.VARCHAR, max_length=600, is_primary=True)
    schema.add_field("code", DataType.BINARY_VECTOR, dim=origin.code_length)
    for name, most in TEXTS.items():
        schema.add_field(name, DataType.VARCHAR, max_length=most, is_partition_key=name == options.partition_key)
    schema.add_field("patient_id", DataType.VARCHAR, max_length=TEXTS["patient_key"])
    for name, kind in NUMBERS.items():
        schema.add_field(name, DataType[kind])
    schema.add_field("year", DataType.INT64, is_partition_key=options.partition_key == PartitionKey.YEAR)
    schema.add_field("first", DataType.BOOL)
    schema.add_field("record", DataType.VARCHAR, max_length=65_535)
    schema.add_field("bucket", DataType.INT16)
    for name in ("owner", "added", "gone"):
        schema.add_field(name, DataType.INT64)
    return schema

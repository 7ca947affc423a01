"""How a Milvus server is reached, and how it keeps the codes."""

from dataclasses import dataclass
from enum import StrEnum


class Consistency(StrEnum):
    """How far a read may lag behind writes, by Milvus' names, from the most to the least certain and slow."""

    STRONG = "Strong"
    SESSION = "Session"
    BOUNDED = "Bounded"
    EVENTUALLY = "Eventually"


class VectorIndex(StrEnum):
    """Indexes of binary vectors. Both are searched exhaustively here, so that answers are exact."""

    FLAT = "BIN_FLAT"
    IVF = "BIN_IVF_FLAT"


class PartitionKey(StrEnum):
    """What Milvus cuts the rows by, so that a search which names values of it reads fewer partitions."""

    NONE = "none"
    MODALITY = "modality"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class MilvusOptions:
    """Where the index is, and how it is made.

    Attributes
    ----------
    uri
        Address of the server, such as http://milvus:19530.
    collection
        Name of the collection; several nodes that name the same share it.
    token
        "user:password", or "" where the server asks for none.
    timeout_s
        Seconds that a request may take, with every repetition after a failure of the connection.
    consistency
        Of reads.
    vector_index, lists
        Index of the codes, and the number of lists of BIN_IVF_FLAT.
    partition_key, partitions
        What partitions are made by, and how many there are.
    shards, replicas
        Of a new collection: channels that rows are written through, and copies in memory that answer.
    """

    uri: str
    collection: str = "lookalike"
    token: str = ""
    timeout_s: float = 5.0
    consistency: Consistency = Consistency.BOUNDED
    vector_index: VectorIndex = VectorIndex.FLAT
    lists: int = 1024
    partition_key: PartitionKey = PartitionKey.NONE
    partitions: int = 16
    shards: int = 1
    replicas: int = 1

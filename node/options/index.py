"""Settings of the index: in the database of this machine, or on a Milvus server."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class IndexSettings(BaseSettings):
    """The part of `node.settings.Settings` that concerns where codes are searched."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    region_codes: bool = False
    """True: codes of 121 overlapping parts of each image are kept, and a region is compared with these, too."""
    region_shortlist: int = Field(1000, ge=100, le=5000)
    """Number of images, the nearest as a whole, whose parts are compared with a region."""
    index: Literal["local", "milvus"] = "local"
    """What searches the codes: local, the database of this machine; milvus, a Milvus server that is fed from it."""
    milvus_uri: str = "http://127.0.0.1:19530"
    """Address of the Milvus server."""
    milvus_token: str = ""
    """User and password for Milvus, as user:password; empty: it asks for none."""
    milvus_collection: str = Field("lookalike", pattern="^[A-Za-z_][A-Za-z0-9_]{0,199}$")
    """Beginning of the name of the collection; a hash of the model follows, and it is made if there is none."""
    milvus_timeout_s: float = Field(5, gt=0)
    """Seconds that Milvus has for one request; queries then get A700, or HTTP 503."""
    milvus_consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = "Bounded"
    """Consistency of reads from Milvus: Strong, Session, Bounded or Eventually."""
    milvus_vector_index: Literal["BIN_FLAT", "BIN_IVF_FLAT"] = "BIN_FLAT"
    """Index of the codes of a new collection: BIN_FLAT or BIN_IVF_FLAT; both are searched whole."""
    milvus_lists: int = Field(1024, ge=1, le=65536)
    """Number of lists of a BIN_IVF_FLAT."""
    milvus_partition_key: Literal["none", "modality", "year"] = "none"
    """What a new collection is partitioned by: none, modality or year (of the study)."""
    milvus_partitions: int = Field(16, ge=1, le=4096)
    """Number of partitions of a new collection with a partition key."""
    milvus_shards: int = Field(1, ge=1, le=64)
    """Number of shards through which rows of a new collection are written."""
    milvus_replicas: int = Field(1, ge=1)
    """Number of copies of the collection in the memory of query nodes."""
    milvus_most_read: int = Field(1_000_000, ge=1)
    """Number of rows that a query by MEAN or LATE may read from Milvus; a query that needs more gets A700."""
    milvus_shared: bool = False
    """True: other nodes keep their codes in the same collection, and their images are found here, too."""

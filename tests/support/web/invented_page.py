"""A page over a database of invented instances: what its tests have in common."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from hashing.codes import Codes, pack
from node.configuration import load_settings
from node.home import Reading
from node.query.retriever import Retriever
from node.settings import Settings
from node.web.app import build
from node.web.resources import WebResources
from storage.database.database import Database, Item
from storage.record import patient_key
from storage.search.local import LocalIndex
from storage.spool.queue import Spool
from tests.support.storage.invented import record

MAP_SIZE = 2**26
MODEL = "model"
SCRIPT = "<script>alert('x')</script>"
SECRETS = ("Kowalska", "Wanda", "ID-77", "HOSPITAL-7", "19710203", "Przybylski", "ACC-99", "2021-03-04", "20210304")


def code(ones: int) -> Codes:
    """Code of 64 bits whose first `ones` are set: its distance from `code(0)`."""
    return pack(np.arange(64)[None, :] < ones)


def picture(number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    y, x = np.mgrid[0:224, 0:224]
    return np.asarray((x + number * y) % 256, np.uint8)


def item(number: int, ones: int, **changes: Any) -> Item:
    """Instance `number`, as far from code 0 as `ones` says, one bit more with each further frame."""
    made = record(number, **changes)
    codes = np.concatenate([code(ones + place) for place in range(len(made.frames))])
    previews = np.stack([picture(number + frame) for frame in made.frames])
    return Item(made, codes, previews, pixel_digest=number)


def private(number: int, ones: int, **changes: Any) -> Item:
    """Instance with everything that must not be shown."""
    attributes: dict[str, Any] = {
        "patient_key": patient_key("ID-77", "HOSPITAL-7", "1"),
        "patient": {
            "PatientName": "Kowalska^Wanda",
            "PatientID": "ID-77",
            "IssuerOfPatientID": "HOSPITAL-7",
            "PatientBirthDate": "19710203",
            "PatientSex": "F",
        },
        "study": {
            "StudyDate": "20210304",
            "AccessionNumber": "ACC-99",
            "ReferringPhysicianName": "Przybylski^Jan",
            "StudyDescription": "Chest",
        },
        "series": {"Modality": "DX", "BodyPartExamined": "CHEST", "SeriesDescription": SCRIPT},
    }
    return item(number, ones, **(attributes | changes))


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return load_settings(home=tmp_path, spool_free_bytes=0)


@pytest.fixture
def reading(home: Settings) -> Iterator[Reading]:
    with Database.create_or_open(home.database_path, 64, MODEL, MAP_SIZE) as database:
        yield Reading(database, Retriever(Spool(home.spool_path, 10, 0), LocalIndex(database).view, MODEL))


@pytest.fixture
def client(home: Settings, reading: Reading) -> TestClient:
    return connect(home, reading)


def connect(home: Settings, reading: Reading) -> TestClient:
    app = build(WebResources.of(home, reading))
    return TestClient(app, base_url=f"http://{home.host}", client=("127.0.0.1", 50000))


def uids(response: Any, name: str) -> list[str]:
    return [each["uid"] for each in response.json()[name]]

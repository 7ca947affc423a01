"""Programs of others as clients of a node: DCMTK, Orthanc, pynetdicom and dcmjs-dimse.

All have `echo()`, `store(path)`, `find(level, unique, **keys)`, which returns the values of a level's unique key, and
`find_like(example, modality)`, which returns SOP Instance UIDs, nearest first. Most have `cancel`, `move` and `get`;
the last two return the number of completed sub-operations. An operation that fails raises an error.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, build_context, build_role, evt

from node.dicom.client import send_at_once
from node.dicom.private import CREATOR, Element
from node.dicom.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET, STUDY_ROOT_MOVE, VERIFICATION
from tests.support.dicom.archive import identifier
from tests.support.peers.orthanc import Orthanc
from tests.support.running import program, run_peer

HOST, TITLE = "127.0.0.1", "LOOKALIKE"


@dataclass(frozen=True, slots=True)
class Ended:
    """End of a request: its final status, and the number of results that came before."""

    status: int
    results: int


class Dcmtk:
    """The command line tools of DCMTK."""

    def __init__(self, port: int, syntax: UID, folder: Path, dictionary: str) -> None:
        self._address = ("-aec", TITLE, HOST, str(port))
        self._implicit, self._folder, self._dictionary = syntax.is_implicit_VR, folder, dictionary

    def echo(self) -> None:
        run_peer(program("echoscu"), *self._address)

    def store(self, path: Path) -> None:
        run_peer(program("storescu"), "-xi" if self._implicit else "-xe", *self._address, path)

    def send(self, path: Path) -> None:
        """Store a file by dcmsend."""
        run_peer(program("dcmsend"), *self._address, path)

    def find(self, level: str, unique: str, **keys: str) -> list[str]:
        texts = [f"{keyword}={value}" for keyword, value in keys.items()]
        return self._values(unique, self._find(f"QueryRetrieveLevel={level}", unique, *texts))

    def find_like(self, example: str, modality: str) -> list[str]:
        keys = (f"(0075,0010)={CREATOR}", f"(0075,1001)={example}", f"Modality={modality}")
        return self._values("SOPInstanceUID", self._find("QueryRetrieveLevel=IMAGE", "SOPInstanceUID", *keys))

    def cancel(self, **keys: str) -> Ended:
        """Cancel a query of images after three responses."""
        texts = [f"{keyword}={value}" for keyword, value in keys.items()]
        output = self._find("QueryRetrieveLevel=IMAGE", "SOPInstanceUID", *texts, options=("-d", "--cancel", "3"))
        status = re.findall(r"DIMSE Status +: 0x([0-9a-f]{4})", output)[-1]
        return Ended(int(status, 16), output.count("Received Find Response"))

    def move(self, study: str, destination: str) -> int:
        """Have a study moved; return the number of completed sub-operations."""
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
        return self._completed(run_peer(program("movescu"), "-d", "-S", "-aem", destination, *keys, *self._address))

    def get(self, study: str) -> int:
        """Retrieve a study; return the number of completed sub-operations."""
        keys = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-od", str(self._folder))
        return self._completed(run_peer(program("getscu"), "-d", "-S", *keys, *self._address))

    def _find(self, *keys: str, options: tuple[str, ...] = ()) -> str:
        syntax = ("-xi",) if self._implicit else ("-xe",)
        parts = [part for key in keys for part in ("-k", key)]
        command = (program("findscu"), "-S", *syntax, *options, *parts, *self._address)
        result = run_peer(*command, DCMDICTPATH=self._dictionary)
        return result.stdout + result.stderr

    @staticmethod
    def _values(keyword: str, output: str) -> list[str]:
        tag = {"StudyInstanceUID": "0020,000d", "SOPInstanceUID": "0008,0018"}[keyword]
        responses = re.split(r"Find Response: \d+", output)[1:]
        return [re.search(rf"\({tag}\) UI \[([0-9.]+)", text)[1] for text in responses]  # type: ignore[index]

    @staticmethod
    def _completed(output: Any) -> int:
        return int(re.findall(r"Completed Suboperations +: (\d+)", output.stdout + output.stderr)[-1])


class OrthancUser:
    """Orthanc, told over its REST interface to use the node; it chooses the transfer syntax."""

    def __init__(self, orthanc: Orthanc) -> None:
        self._orthanc = orthanc

    def echo(self) -> None:
        self._post("/modalities/node/echo", {})

    def store(self, path: Path) -> None:
        stored = self._orthanc.call("/instances", path.read_bytes())["ID"]
        result = self._post("/modalities/node/store", {"Resources": [stored], "Synchronous": True})
        assert result["FailedInstancesCount"] == 0

    def find(self, level: str, unique: str, **keys: str) -> list[str]:
        return self._query(level, unique, {unique: "", **keys})

    def find_like(self, example: str, modality: str, *, creator: bool = True) -> list[str]:
        """With `creator` false the Private Creator is left out."""
        keys = {"SOPInstanceUID": "", "Modality": modality, "0075,1001": example}
        return self._query("IMAGE", "SOPInstanceUID", keys | ({"0075,0010": CREATOR} if creator else {}))

    def move(self, study: str, destination: str) -> None:
        resources = [{"StudyInstanceUID": study}]
        body = {"Level": "Study", "Resources": resources, "TargetAet": destination, "Synchronous": True}
        self._post("/modalities/node/move", body)

    def _query(self, level: str, unique: str, keys: dict[str, str]) -> list[str]:
        names = {"STUDY": "Study", "IMAGE": "Instance"}
        query = self._post("/modalities/node/query", {"Level": names[level], "Query": keys, "Normalize": False})
        answers = self._orthanc.call(f"/queries/{query['ID']}/answers")
        path = f"/queries/{query['ID']}/answers/{{}}/content?simplify"
        return [self._orthanc.call(path.format(number))[unique] for number in answers]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            return self._orthanc.call(path, json.dumps(body).encode())
        except HTTPError as error:
            raise AssertionError(f"{path}: {error.read().decode()}") from error


class Dcmjs:
    """The library dcmjs-dimse under Node.js, installed in a folder."""

    def __init__(self, port: int, syntax: UID, modules: Path) -> None:
        self._port, self._syntax, self._modules = port, syntax, modules

    def echo(self) -> None:
        assert self._run("echo")["status"] == 0

    def store(self, path: Path) -> None:
        assert self._run("store", path=str(path))["status"] == 0

    def find(self, level: str, unique: str, **keys: str) -> list[str]:
        return self._find(unique, {"QueryRetrieveLevel": level, unique: "", **keys})

    def find_like(self, example: str, modality: str) -> list[str]:
        keys = {"LookalikeCreator": CREATOR, "ExampleSOPInstanceUID": example, "Modality": modality}
        return self._find("SOPInstanceUID", {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": "", **keys})

    def cancel(self, **keys: str) -> Ended:
        asked = {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": "", **keys}
        result = self._run("find", keys=asked, cancelAfter=3)
        return Ended(result["status"], len(result["datasets"]))

    def move(self, study: str, destination: str) -> int:
        return self._completed(self._run("move", study=study, destination=destination))

    def get(self, study: str) -> int:
        result = self._run("get", study=study)
        assert len(result["received"]) == self._completed(result)
        return self._completed(result)

    def _find(self, unique: str, keys: dict[str, str]) -> list[str]:
        result = self._run("find", keys=keys)
        assert result["status"] == 0
        return [dataset[unique] for dataset in result["datasets"]]

    def _run(self, operation: str, **task: Any) -> dict[str, Any]:
        task |= {"operation": operation, "port": self._port, "syntax": self._syntax}
        script = Path(__file__).with_name("dcmjs_client.js")
        output = run_peer(program("node"), script, json.dumps(task), NODE_PATH=str(self._modules / "node_modules"))
        [document] = [line for line in output.stdout.split("\n") if line.startswith("{")]  # beside lines of its log
        result: dict[str, Any] = json.loads(document)
        return result

    @staticmethod
    def _completed(result: dict[str, Any]) -> int:
        assert result["status"] == 0, result
        return int(result["completed"])


class Pynetdicom:
    """The library pynetdicom as client, in this process."""

    def __init__(self, port: int, syntax: UID) -> None:
        self._port, self._syntax = port, syntax

    def echo(self) -> None:
        self._ask(VERIFICATION, lambda association: self._check([association.send_c_echo()]))

    def store(self, path: Path) -> None:
        sop_class = dcmread(path, stop_before_pixels=True).SOPClassUID
        self._ask(sop_class, lambda association: self._check([association.send_c_store(path)]))

    def find(self, level: str, unique: str, **keys: str) -> list[str]:
        return self._find(unique, identifier(level, keys={unique: "", **keys}))

    def find_like(self, example: str, modality: str, *, creator: bool = True) -> list[str]:
        """With `creator` false the Private Creator is left out."""
        request = identifier("IMAGE", {Element.EXAMPLE_SOP_INSTANCE_UID: example}, SOPInstanceUID="", Modality=modality)
        request[0x00751001].VR = "UN"
        request[0x00751001].value = example.encode() + b"\0" * (len(example) % 2)
        if not creator:
            del request[0x00750010]
        return self._find("SOPInstanceUID", request)

    def cancel(self, **keys: str) -> Ended:
        """Cancel a query of images after three responses."""

        def ask(association: Any) -> Ended:
            request = identifier("IMAGE", keys={"SOPInstanceUID": "", **keys})
            for results, (status, _) in enumerate(association.send_c_find(request, STUDY_ROOT_FIND, msg_id=7)):
                if status.Status != 0xFF00:
                    return Ended(status.Status, results)
                if results == 2:
                    association.send_c_cancel(7, query_model=STUDY_ROOT_FIND)
            raise AssertionError("no final response")

        ended: Ended = self._ask(STUDY_ROOT_FIND, ask)
        return ended

    def move(self, study: str, destination: str) -> int:
        """Have a study moved; return the number of completed sub-operations."""
        request = identifier("STUDY", StudyInstanceUID=study)
        responses = self._ask(
            STUDY_ROOT_MOVE, lambda association: list(association.send_c_move(request, destination, STUDY_ROOT_MOVE))
        )
        return self._completed(responses)

    def get(self, study: str, sop_class: UID) -> int:
        """Retrieve a study; return the number of completed sub-operations."""
        request = identifier("STUDY", StudyInstanceUID=study)
        responses = self._ask(
            STUDY_ROOT_GET,
            lambda association: list(association.send_c_get(request, STUDY_ROOT_GET)),
            build_context(sop_class, [self._syntax]),
            ext_neg=[build_role(sop_class, scp_role=True)],
            evt_handlers=[(evt.EVT_C_STORE, lambda _: 0)],
        )
        return self._completed(responses)

    def _find(self, unique: str, request: Dataset) -> list[str]:
        responses = self._ask(
            STUDY_ROOT_FIND, lambda association: list(association.send_c_find(request, STUDY_ROOT_FIND))
        )
        self._check([status for status, _ in responses])
        return [response[unique].value for _, response in responses if response is not None]

    def _ask(self, sop_class: UID, ask: Any, *contexts: Any, evt_handlers: Any = (), **options: Any) -> Any:
        ae = AE("PYNETDICOM")
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 20
        proposed = [build_context(sop_class, [self._syntax]), *contexts]
        handlers = [(evt.EVT_CONN_OPEN, send_at_once), *evt_handlers]
        association = ae.associate(HOST, self._port, proposed, TITLE, evt_handlers=handlers, **options)
        assert association.is_established
        try:
            return ask(association)
        finally:
            association.release()

    @staticmethod
    def _check(statuses: list[Dataset]) -> None:
        assert statuses[-1].Status == 0, statuses[-1]

    @staticmethod
    def _completed(responses: list[Any]) -> int:
        status, _ = responses[-1]
        assert status.Status == 0, status
        return int(status.NumberOfCompletedSuboperations)

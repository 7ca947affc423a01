"""Log lines: their forms, where they go, and the request that they belong to."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from node.configuration import load_settings
from node.dicom.client import Peer
from node.errors import SettingsError
from node.logs import begin_request, configure_logging, end_request, request_id
from tests.support.dicom.answering import answering_node

logger = logging.getLogger("node.test")


@pytest.fixture(autouse=True)
def _log_of_pytest() -> Iterator[None]:
    """Give pytest its log back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


def test_a_json_line_says_when_who_and_on_whose_behalf(tmp_path: Path) -> None:
    stream = StringIO()
    configure_logging(load_settings(home=tmp_path, log_format="json"), "dicom-1", stream)

    token = begin_request("r-1")
    logger.warning("refused %s\nforged line", "1.2.3")
    end_request(token)
    try:
        raise ValueError("odd")
    except ValueError:
        logger.exception("internal error")

    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["level"], first["process"], first["request"]) == ("WARNING", "dicom-1", "r-1")
    assert first["message"] == "refused 1.2.3\nforged line"
    assert first["time"].endswith("+00:00")
    assert "request" not in second
    assert "ValueError: odd" in second["exception"]


def test_a_line_of_text_names_its_request_only_if_it_has_one(tmp_path: Path) -> None:
    stream = StringIO()
    configure_logging(load_settings(home=tmp_path), "web-1", stream)

    logger.info("before")
    token = begin_request("r-1")
    logger.info("within")
    end_request(token)

    before, within = stream.getvalue().splitlines()
    assert before.endswith("INFO node.test: before")
    assert within.endswith("INFO node.test: [r-1] within")


def test_identifiers_are_taken_over_if_they_are_harmless_and_new_else() -> None:
    for given, is_kept in (("abc-1.2_3", True), ("", False), ("a b", False), ("x" * 65, False), ("a\nb", False)):
        token = begin_request(given)
        assert (request_id() == given) == is_kept
        assert request_id()
        end_request(token)
    assert request_id() == ""


def test_levels_are_those_of_the_settings_for_us_and_errors_for_libraries(tmp_path: Path) -> None:
    stream = StringIO()
    configure_logging(load_settings(home=tmp_path, log_level="WARNING"), "web-1", stream)

    logger.info("ours")
    logger.warning("ours, odd")
    logging.getLogger("pydicom").warning("somebody's name")
    logging.getLogger("pydicom").error("broken")

    assert [line.rpartition(": ")[2] for line in stream.getvalue().splitlines()] == ["ours, odd", "broken"]


def test_files_rotate_within_their_limits_and_are_private(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home", log_to="files", log_file_bytes=1 << 16, log_files=2)
    configure_logging(settings, "index-1")

    for number in range(6000):
        logger.info("event %d of a process that says much", number)

    files = sorted(settings.log_path.iterdir())
    assert [path.name for path in files] == ["index-1.log", "index-1.log.1", "index-1.log.2"]
    assert all(path.stat().st_size <= 1 << 16 for path in files)
    assert files[0].read_text().endswith("event 5999 of a process that says much\n")
    assert settings.log_path.stat().st_mode & 0o777 == 0o700


def test_lines_reach_a_syslog_on_this_machine_and_on_another(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as local, socket.socket(type=socket.SOCK_DGRAM) as remote:
        local.bind(str(tmp_path / "log"))
        remote.bind(("127.0.0.1", 0))
        for receiver, address in ((local, tmp_path / "log"), (remote, f"127.0.0.1:{remote.getsockname()[1]}")):
            receiver.settimeout(10)
            configure_logging(load_settings(home=tmp_path, log_to=f"syslog:{address}"), "web-1")
            logger.error("broken")
            assert receiver.recv(1000).startswith(b"<27>lookalike-web-1: ")


@pytest.mark.parametrize("to", ["nowhere", "syslog:", "syslog:host", "file"])
def test_an_unknown_place_for_the_log_is_refused(tmp_path: Path, to: str) -> None:
    with pytest.raises(SettingsError, match="log_to"):
        load_settings(home=tmp_path, log_to=to)


def test_all_that_an_association_logs_has_one_identifier(tmp_path: Path) -> None:
    found: dict[str, set[str]] = {}

    class Remember(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if request_id():
                found.setdefault(request_id(), set()).add(threading.current_thread().name)

    logging.getLogger("node").addHandler(handler := Remember())
    logging.getLogger("node").setLevel(logging.INFO)
    try:
        with answering_node(tmp_path) as node:
            peer = Peer(node.settings.ae_title, node.settings.host, node.settings.port)
            for _ in range(2):
                peer.echo()
    finally:
        logging.getLogger("node").removeHandler(handler)

    assert len(found) == 2
    assert all(len(threads) == 1 for threads in found.values())

"""Where settings come from, which of them wins, and what an operator is told who errs."""

import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic import ValidationError

from hashing.model import model_file
from node.configuration import load_settings
from node.errors import SettingsError
from node.settings import CODE_LENGTHS, FILE_NAME


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home folder without settings, and an environment that says nothing."""
    for name in os.environ:
        if name.startswith("LOOKALIKE_"):
            monkeypatch.delenv(name)
    return tmp_path


def test_without_anything_said_it_listens_only_on_this_machine(home: Path) -> None:
    settings = load_settings(home=home)

    assert (settings.host, settings.port, settings.ae_title) == ("127.0.0.1", 11112, "LOOKALIKE")
    assert settings.database_path.parent == settings.spool_path.parent == settings.run_path.parent == home


def test_the_command_line_wins_over_the_environment_and_that_over_the_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / FILE_NAME).write_text("port = 1001\nhttp_port = 1002\nmax_frames = 3\n")
    monkeypatch.setenv("LOOKALIKE_PORT", "2001")
    monkeypatch.setenv("LOOKALIKE_HTTP_PORT", "2002")

    settings = load_settings(home=home, port=3001, http_port=None)

    assert (settings.port, settings.http_port, settings.max_frames, settings.batch_size) == (3001, 2002, 3, 32)


def test_the_file_is_looked_for_in_the_home_that_the_environment_names(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / FILE_NAME).write_text("port = 1001")
    monkeypatch.setenv("LOOKALIKE_HOME", str(home))

    settings = load_settings()

    assert (settings.home, settings.port) == (home, 1001)


def test_an_empty_variable_says_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    for name in ("LOOKALIKE_HOME", "LOOKALIKE_PORT"):
        monkeypatch.setenv(name, "")

    settings = load_settings()

    assert (settings.home, settings.port) == (Path("var"), 11112)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("prot = 104", "prot: there is no such setting"),
        ("[node]\nport = 104", "node: there is no such setting"),
        ("port = 'one'", "port: "),
        ("port = 0", "port: "),
        ("port = 65536", "port: "),
        ("port = 1.5", "port: "),
        ("code_length = 7", "code_length: "),
        ("ae_title = ''", "ae_title: "),
        ("ae_title = '    '", "ae_title: "),
        ("ae_title = 'SEVENTEEN_LETTERS'", "ae_title: "),
        ("ae_title = 'BACK\\SLASH'", "ae_title: "),
        ("retrieve_ae_title = 'SEVENTEEN_LETTERS'", "retrieve_ae_title: "),
        ("device = 'gpu'", "device: "),
        ("network_timeout_s = nan", "network_timeout_s: "),
        ("port = ", FILE_NAME),
        ("port = 0\nbatch_size = 0", "batch_size: "),
    ],
)
def test_a_file_that_cannot_be_used_is_one_error_that_names_the_setting(home: Path, written: str, named: str) -> None:
    (home / FILE_NAME).write_text(written)

    with pytest.raises(SettingsError) as caught:
        load_settings(home=home)

    assert named in str(caught.value)
    assert str(home / FILE_NAME) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_is_named(home: Path) -> None:
    (home / FILE_NAME).write_bytes(b"\xff\xfe")

    with pytest.raises(SettingsError, match=FILE_NAME):
        load_settings(home=home)


@pytest.mark.parametrize("code_length", CODE_LENGTHS)
def test_every_code_length_of_the_network_can_be_set_by_variable(
    home: Path, monkeypatch: pytest.MonkeyPatch, code_length: int
) -> None:
    monkeypatch.setenv("LOOKALIKE_CODE_LENGTH", str(code_length))

    assert load_settings(home=home).code_length == code_length
    assert model_file.CODE_LENGTHS == CODE_LENGTHS


def test_a_bad_variable_and_an_unknown_option_are_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_PORT", "tcp://10.0.0.1:11112")

    with pytest.raises(SettingsError) as caught:
        load_settings(home=home, prot=104)

    assert "port: it should be a valid integer" in str(caught.value)
    assert "not 'tcp://10.0.0.1:11112' (set by the environment variable LOOKALIKE_PORT)" in str(caught.value)
    assert "prot: there is no such setting (set by the option --prot)" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ae_title = 'BACK\\SLASH'", "has 1 to 16 characters of ASCII, no backslash"),
        ("ae_title = 'SEVENTEEN_LETTERS'", "'SEVENTEEN_LETTERS' is no AE title"),
        ("device = 'gpu'", "'gpu' is none of auto, cpu, cuda"),
        ("host = '[::1]'", "'[::1]' is no address to listen on: write one as"),
        ("host = ''", "'' is no address to listen on"),
        ("other_content = 'newest'", "it should be 'keep_first', 'replace' or 'quarantine', not 'newest'"),
        ("heartbeat_limit_s = 0.1", "it should be greater than or equal to 5, not 0.1"),
    ],
)
def test_what_is_wrong_with_a_value_is_said_in_words_and_not_as_a_pattern(home: Path, written: str, said: str) -> None:
    (home / FILE_NAME).write_text(written)

    with pytest.raises(SettingsError) as caught:
        load_settings(home=home)

    assert said in str(caught.value)
    assert "pattern" not in str(caught.value)


@pytest.mark.parametrize("host", ["::1", "::", "0.0.0.0", "127.0.0.1", "pacs.example"])
def test_the_address_of_the_page_can_be_opened(home: Path, host: str) -> None:
    url = urlsplit(load_settings(home=home, host=host).url)

    assert (url.hostname, url.port) == (host, 8080)


def test_one_port_for_two_services_is_refused_and_the_variable_named(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("lookalike_port", "8080")

    with pytest.raises(SettingsError, match=r"port and http_port are both 8080.*LOOKALIKE_PORT\)"):
        load_settings(home=home)


def test_settings_do_not_change(home: Path) -> None:
    settings = load_settings(home=home)

    with pytest.raises(ValidationError):
        settings.port = 104  # type: ignore[misc]

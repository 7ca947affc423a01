"""The settings of a process, read from the command line, the environment and settings.toml."""

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError as EnvironmentValueError

from node.errors import SettingsError
from node.options.pull import DEFAULT_HOME
from node.settings import FILE_NAME, PREFIX, Settings

DEFAULT = "default"


def load_settings(**overrides: Any) -> Settings:
    """Settings of this process: command line before environment before file before defaults.

    Parameters
    ----------
    overrides
        Values from the command line by name; None stands for an option that was not given.

    Raises
    ------
    SettingsError
        A value cannot be used; the message names the setting, the fault, and the source of the value.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    file = Path(given.get("home") or _variable("home") or DEFAULT_HOME) / FILE_NAME
    settings = _read(given, file)
    for names, problem in _contradictions(settings):
        sources = {_source(name, given, file) for name in names} - {DEFAULT}
        raise SettingsError(f"{problem} (set by {' and '.join(sorted(sources))})")
    return settings


def _read(given: Mapping[str, Any], file: Path) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        raise SettingsError("; ".join(_problem(problem, given, file) for problem in problems)) from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is no TOML: {error}") from error
    except EnvironmentValueError as error:
        raise SettingsError(f"environment: {error}; a table is written as JSON") from error
    except (OSError, ValueError) as error:  # a file that cannot be read, or is no text
        raise SettingsError(f"{file} cannot be read: {error}") from error


def _contradictions(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Names of settings that do not go together, each with the problem."""
    if settings.source_peer and settings.source_peer not in settings.peers:
        yield ("source_peer",), f"source_peer: {settings.source_peer!r} is not in the table of peers"
    if settings.fetch_missing_example and not settings.source_peer:
        yield ("fetch_missing_example",), "fetch_missing_example: there is no source_peer to fetch from"
    for title, peer in settings.peers.items():
        if peer.answers_to and peer.answers_to not in settings.peers:
            yield ("peers",), f"peers.{title}.answers_to: {peer.answers_to!r} is not in the table of peers"
    for name, job in settings.pull_jobs.items():
        if job.source not in settings.peers:
            yield ("pull_jobs",), f"pull_jobs.{name}.source: {job.source!r} is not in the table of peers"
    if settings.ask_ae_title.strip() == settings.ae_title.strip():
        problem = f"ask_ae_title and ae_title are both {settings.ae_title!r}: give each its own"
        yield ("ask_ae_title", "ae_title"), problem
    if settings.port == settings.http_port:
        yield ("port", "http_port"), f"port and http_port are both {settings.port}: give each its own"


def _problem(problem: ErrorDetails, given: Mapping[str, Any], file: Path) -> str:
    """Message about a value that pydantic refuses."""
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        what = "there is no such setting"
    elif problem["type"] == "value_error":  # ours, which name the value
        what = str(problem["ctx"]["error"])
    else:
        what = f"{problem['msg'].replace('Input', 'it')}, not {problem['input']!r}"
    return f"{name}: {what} (set by {_source(str(problem['loc'][0]), given, file)})"


def _source(name: str, given: Mapping[str, Any], file: Path) -> str:
    """Source of a setting's value as an operator knows it: an option, a variable, a file, or the default."""
    if name in given:
        return f"the option --{name.replace('_', '-')}"
    if _variable(name):
        return f"the environment variable {PREFIX}{name.upper()}"
    return str(file) if name in _names_in(file) else DEFAULT


def _names_in(file: Path) -> Iterable[str]:
    return tomllib.loads(file.read_text()) if file.exists() else ()


def _variable(name: str) -> str | None:
    """Value of a setting's environment variable, whose name may be in lower case; None if it is unset or empty."""
    variables = {key.upper(): value for key, value in os.environ.items()}
    return variables.get(f"{PREFIX}{name.upper()}") or None

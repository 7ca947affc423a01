"""Model files that a home folder can use: which there are, and which one is set."""

import logging
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hashing.model.model_file import DEFAULT_MODEL, MODELS, Model, ModelError, read_model
from node.errors import SettingsError
from node.home import open_database
from node.settings import FILE_NAME, Settings
from storage.durable import write_durably

logger = logging.getLogger(__name__)

FOLDER = "models"
"""Folder of a home folder in which models of the site can lie, to be named without their path."""
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model file, and whether it is in use.

    Attributes
    ----------
    is_set
        Whether the settings name it.
    is_of_database
        Whether the codes of the database are of it.
    """

    path: Path
    model: Model
    is_set: bool
    is_of_database: bool


def choices(settings: Settings) -> Iterator[ModelChoice]:
    """The models that come with the node, those of the home folder, and the one that is set, if it lies elsewhere.

    Raises
    ------
    ModelError
        A file cannot be used.
    """
    used, codes = (settings.model_path or DEFAULT_MODEL).absolute(), model_of_database(settings)
    for path in _files(settings):
        model = read_model(path)
        yield ModelChoice(path, model, path == used, model.identifier == codes)


def file_of(settings: Settings, identifier: str, file: Path | None = None) -> Path:
    """The file of the model of an identifier, among those of `choices` or the one that is named.

    Raises
    ------
    ModelError
        None of them is of it; those that cannot be read do not count.
    """
    for path in _files(settings) if file is None else [file.absolute()]:
        try:
            if read_model(path).identifier == identifier:
                return path
        except ModelError as error:
            logger.warning("%s", error)
    raise ModelError(
        f"the file of model {identifier} is not there: put it into {settings.home / FOLDER}, or name it, as in "
        "lookalike model back FILE"
    )


def model_of_database(settings: Settings) -> str | None:
    """Identifier of the model whose codes the database holds; None without a database."""
    if not any(settings.database_path.glob("*.mdb")):
        return None
    with open_database(settings) as database:
        return database.header.model


def found(settings: Settings, name: str) -> Path:
    """The file of a model, by its path or by its name in the places of `choices`.

    Raises
    ------
    ModelError
        There is none, or it cannot be used with the code length that is set.
    """
    places = [Path(name), settings.home / FOLDER / f"{name}{SUFFIX}", MODELS / f"{name}{SUFFIX}"]
    path = next((place.absolute() for place in places if place.is_file()), None)
    if path is None:
        known = ", ".join(sorted({choice.path.stem for choice in choices(settings)}))
        raise ModelError(f"no model {name}: name a file, or one of {known}")
    lengths = read_model(path).architecture.code_lengths
    if settings.code_length not in lengths:
        raise ModelError(f"{path.name} has codes of {lengths} bits, and code_length is {settings.code_length}")
    return path


def use(settings: Settings, path: Path) -> None:
    """Set a model in the settings file of the home folder; all else in the file stays as it is.

    Raises
    ------
    SettingsError
        The file cannot be changed by a line: change it by hand.
    """
    file = settings.home / FILE_NAME
    before = file.read_text() if file.exists() else ""
    value = None if path == DEFAULT_MODEL.absolute() else str(path)
    text = with_setting(before, "model_path", value)
    wanted = {name: one for name, one in tomllib.loads(before).items() if name != "model_path"}
    if tomllib.loads(text) != wanted | ({} if value is None else {"model_path": value}):
        raise SettingsError(f"{file} says model_path in a form of its own: change it by hand to {value or 'none'}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_durably([text.encode()], file.with_suffix(".partial"), file)


def _files(settings: Settings) -> list[Path]:
    """Every file of `choices`."""
    used = settings.model_path or DEFAULT_MODEL
    files = [*MODELS.glob(f"*{SUFFIX}"), *(settings.home / FOLDER).glob(f"*{SUFFIX}"), used]
    return list(dict.fromkeys(sorted(file.absolute() for file in files)))


def with_setting(text: str, name: str, value: str | None) -> str:
    """The text of a TOML file with another value for a key at its top level; None takes the key away."""
    line = "" if value is None else f"{name} = '{value}'\n"
    table = re.search(r"^\s*\[", text, re.MULTILINE)
    top, rest = (text, "") if table is None else (text[: table.start()], text[table.start() :])
    top = re.sub(rf"^[ \t]*{name}[ \t]*=.*\n?", "", top, flags=re.MULTILINE)
    if line and top and not top.endswith("\n"):
        top += "\n"
    return top + line + rest

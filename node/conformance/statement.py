"""The DICOM conformance statement of a node: prose of a template, and tables made from those of the code (PS3.2)."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from node.conformance import parameter_tables, query_tables, service_tables
from node.conformance.status_tables import other_status_table, status_table
from node.dicom.private import SIMILARITY_FIND
from node.dicom.sop_classes import Service
from node.query.question import DEFAULT_MATCHES, MAX_EXAMPLES, MAX_MATCHES
from node.settings import Settings
from node.version import __version__

TEMPLATE: Final = Path(__file__).with_name("template.md")
FIELD: Final = re.compile(r"\{\{ (.+?) \}\}")
HEADING: Final = re.compile(r"^(##+) (.+)$", re.MULTILINE)
CONTENTS: Final = "contents"

TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "overview": service_tables.overview_table,
    "acceptance": service_tables.acceptance_table,
    "initiations": service_tables.initiation_table,
    "extensions": service_tables.extension_table,
    "transfer syntaxes": service_tables.transfer_syntax_table,
    "storage classes": service_tables.storage_table,
    "keys": query_tables.key_table,
    "private elements": query_tables.private_element_table,
    "private creator": query_tables.private_creator,
    "character sets": query_tables.character_set_table,
    "other statuses": other_status_table,
    "peers": parameter_tables.peer_table,
}
"""Functions of the template's fields that do not depend on settings, by the names of the fields."""
CONSTANTS: Final[Mapping[str, object]] = {
    "version": __version__,
    "similarity class": SIMILARITY_FIND,
    "default_matches": DEFAULT_MATCHES,
    "max_matches": MAX_MATCHES,
    "max_examples": MAX_EXAMPLES,
}


def conformance_statement(settings: Settings) -> str:
    """The statement of a node with these settings, as Markdown.

    Raises
    ------
    KeyError
        The template has a field that nothing fills.
    """
    template = TEMPLATE.read_text()
    fields = {name: _value(name, settings) for name in set(FIELD.findall(template)) - {CONTENTS}}
    return FIELD.sub(lambda field: fields[field[1]], template.replace(f"{{{{ {CONTENTS} }}}}", _contents(template)))


def _contents(template: str) -> str:
    """List of the sections."""
    return "\n".join(f"{'  ' * (len(level) - 2)}- {title}" for level, title in HEADING.findall(template))


def _value(name: str, settings: Settings) -> str:
    """Text of a field of the template: a table, a constant, or the value of a setting."""
    if name in TABLES:
        return TABLES[name]()
    if name.startswith("statuses of "):
        return status_table(Service(name.removeprefix("statuses of ")))
    if name == "settings":
        return parameter_tables.setting_table(settings)
    if name == "association":
        return parameter_tables.association_table(settings)
    value = CONSTANTS.get(name) if name in CONSTANTS else settings.model_dump()[name]
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)

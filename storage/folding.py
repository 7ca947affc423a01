"""Forms of attribute values in which the database's index and the matching of queries compare them."""

import re
import unicodedata
from typing import Final

PADDING: Final = " \0\t\n\r\f\v"
"""Characters around a value that say nothing, whatever its VR (PS3.5 section 6.2)."""
MAX_STORED_CHARACTERS: Final = 8192
"""Part of a stored attribute that is compared: senders may write more than the VR allows."""
MAX_GROUPS: Final = 33
"""Component groups of a name that are compared; a name of VR PN has three."""


def stored_values(text: str) -> list[str]:
    """Values of a stored attribute, which are joined by backslashes."""
    return text[:MAX_STORED_CHARACTERS].split("\\")


def folded_groups(name: str) -> list[str]:
    """Component groups of a name, each folded by `folded_group` (PS3.5 section 6.2.1)."""
    return [folded_group(group) for group in name.split("=", MAX_GROUPS - 1)]


def folded_group(group: str) -> str:
    """Component group in lower case, without accents, needless spaces and empty components at its end."""
    bare = "".join(char for char in unicodedata.normalize("NFKD", group) if not unicodedata.combining(char))
    composed = unicodedata.normalize("NFC", bare).casefold()  # a syllable of Hangul is one character again
    components = (" ".join(component.replace("\0", " ").split()) for component in composed.split("^"))
    return "^".join(components).rstrip("^")


def digits(moment: str) -> str:
    """Date or time without delimiters: the old forms 2020.01.31 and 12:30:00 are read too."""
    return re.sub(r"[.:\s\0]", "", moment)


def stripped(text: str) -> str:
    """Text without the padding around it."""
    return text.strip(PADDING)


def code_string(text: str) -> str:
    """Code string in capitals, without the padding around it (VR CS, PS3.5 section 6.2)."""
    return text.strip(PADDING).upper()

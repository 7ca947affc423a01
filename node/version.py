"""What this software calls itself, to people and on the wire."""

import shlex
import sys
from pathlib import Path
from typing import Final

from pydicom.uid import UID

__version__ = "0.1.0"

IMPLEMENTATION_CLASS_UID: Final = UID("2.25.183651212159562866321980370896260199005")
IMPLEMENTATION_VERSION_NAME: Final = f"LOOKALIKE_{__version__}"[:16]  # VR SH


def program() -> str:
    """The command `lookalike` as it can be typed into a shell here, whether or not it is on PATH."""
    beside = Path(sys.executable).with_name("lookalike")
    if not beside.is_file():
        return f"{shlex.quote(sys.executable)} -P -m node"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))

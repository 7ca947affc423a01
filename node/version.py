"""What this software calls itself, to people and on the wire."""

import shutil
import sys
from pathlib import Path
from shlex import quote
from typing import Final

from pydicom.uid import UID

__version__ = "0.1.0"

IMPLEMENTATION_CLASS_UID: Final = UID("2.25.183651212159562866321980370896260199005")
IMPLEMENTATION_VERSION_NAME: Final = f"LOOKALIKE_{__version__}"[:16]  # VR SH


def program() -> str:
    """Return what a user types in this folder to run `lookalike`: its name where that leads to this installation."""
    script = Path(sys.executable).with_name("lookalike")
    if not script.is_file():
        return f"{quote(sys.executable)} -P -m node"
    on_path = shutil.which("lookalike")
    if on_path and Path(on_path).resolve() == script.resolve():
        return "lookalike"
    here = Path.cwd()
    return quote(str(script.relative_to(here) if script.is_relative_to(here) else script))

"""What this software calls itself, to people and on the wire."""

from typing import Final

from pydicom.uid import UID

__version__ = "0.1.0"

IMPLEMENTATION_CLASS_UID: Final = UID("2.25.183651212159562866321980370896260199005")
IMPLEMENTATION_VERSION_NAME: Final = f"LOOKALIKE_{__version__}"[:16]  # VR SH

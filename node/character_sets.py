"""Specific Character Set: which values use it, and a correction of pydicom's reading of one (PS3.5 section 6.1.2)."""

from typing import Final

from pydicom import charset
from pydicom.valuerep import VR

CHARACTER_SET_VRS: Final = frozenset({VR.LO, VR.LT, VR.PN, VR.SH, VR.ST, VR.UC, VR.UT})
"""VRs whose text is written in the Specific Character Set (PS3.5 section 6.1.2.2)."""
ASCII_ONLY: Final = frozenset({"", "ISO_IR 6", "ISO 2022 IR 6"})
"""The default character repertoire, which pydicom reads leniently as Latin alphabet No. 1."""
CHINESE: Final = "iso_ir_58"
"""Python's name for ISO 2022 IR 58 in pydicom's tables."""

# pydicom leaves the escape sequences of this set to Python, whose GB 2312 knows none: they would stay in what is read,
# and lack in what is written (PS3.5 annex K).
vars(charset)["handled_encodings"] = tuple(name for name in charset.handled_encodings if name != CHINESE)

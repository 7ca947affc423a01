"""The tissues of the phantoms: one table for all modalities."""

from dataclasses import dataclass
from math import exp


@dataclass(frozen=True, slots=True)
class Tissue:
    """Physical properties of one tissue.

    Attributes
    ----------
    hounsfield
        CT number, HU.
    t1_ms, t2_ms
        Relaxation times at 1.5 T, ms.
    protons
        Proton density relative to water; 0 gives no MR signal.
    """

    hounsfield: float
    t1_ms: float = 1000.0
    t2_ms: float = 50.0
    protons: float = 0.0

    @property
    def density(self) -> float:
        """Attenuation of an X-ray beam relative to water. Calcium counts more than in CT, since the energy is lower."""
        calcium = max(self.hounsfield - 100.0, 0.0)
        return max(1.0 + (self.hounsfield + 0.9 * calcium) / 1000.0, 0.0)


# Typical values of radiology textbooks; the spread between patients comes from the anatomy, not from here.
TISSUES = {
    "air": Tissue(-1000.0),
    "lung": Tissue(-840.0),
    "airway": Tissue(-990.0),
    "fat": Tissue(-100.0, 260.0, 75.0, 0.9),
    "gland": Tissue(15.0),
    "muscle": Tissue(52.0, 900.0, 48.0, 0.75),
    "skin": Tissue(10.0, 500.0, 45.0, 0.5),
    "mediastinum": Tissue(-60.0),
    "heart": Tissue(45.0),
    "blood": Tissue(45.0),
    "liver": Tissue(60.0),
    "spleen": Tissue(50.0),
    "stomach": Tissue(25.0),
    "fluid": Tissue(8.0, 2600.0, 250.0, 1.0),
    "lesion": Tissue(42.0),
    "cartilage": Tissue(110.0),
    "cortical bone": Tissue(760.0, 400.0, 5.0, 0.12),
    "spongy bone": Tissue(190.0, 420.0, 60.0, 0.4),
    "table": Tissue(-250.0),
    "grey matter": Tissue(38.0, 1200.0, 100.0, 0.82),
    "white matter": Tissue(28.0, 640.0, 76.0, 0.70),
    "cerebrospinal fluid": Tissue(5.0, 3800.0, 700.0, 1.0),
    "dura": Tissue(60.0, 800.0, 40.0, 0.5),
    "eye": Tissue(8.0, 3400.0, 500.0, 0.98),
    "tumour": Tissue(45.0, 1400.0, 150.0, 0.9),
    "oedema": Tissue(18.0, 1450.0, 200.0, 0.85),
}


def spin_echo(tissue: Tissue, repetition_ms: float, echo_ms: float, inversion_ms: float = 0.0) -> float:
    """Signal of a tissue in a spin-echo sequence, after an inversion pulse unless ``inversion_ms`` is 0.

    Returns
    -------
    float
        ``protons * |1 - 2 exp(-TI/T1) + exp(-TR/T1)| * exp(-TE/T2)``, in [0, 1]; without inversion
        ``protons * (1 - exp(-TR/T1)) * exp(-TE/T2)``.
    """
    left = exp(-repetition_ms / tissue.t1_ms)
    recovered = abs(1.0 - 2.0 * exp(-inversion_ms / tissue.t1_ms) + left) if inversion_ms else 1.0 - left
    return tissue.protons * recovered * exp(-echo_ms / tissue.t2_ms)

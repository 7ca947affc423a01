"""The patients of the phantom hospital: each number is one invented person."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

FINDINGS = ("enlarged heart", "effusion", "nodule", "mass", "enlarged ventricles", "brain tumour")
"""Findings that the phantoms show. The last two are in the head."""

# Single-byte, multi-byte and ideographic component groups, so that every kind of name matching meets one (PS3.5 6.2.1).
_GIVEN = {
    "F": ("Ada", "Grace", "Zoë", "Maria^Elena", "Łucja", "Chloé", "Søs", "Emmy", "Hanako", "Yun"),
    "M": ("Alan", "Jürgen", "José^Luís", "Ole", "Bjørn", "René", "Ivan", "Tarō", "Omar", "Min-jun"),
}
_IDEOGRAPHIC = {
    "Hanako": "Phantom^Hanako=幻^花子=まぼろし^はなこ",
    "Tarō": "Phantom^Taro=幻^太郎=まぼろし^たろう",
    "Yun": "Phantom^Yun=幻^云",
    "Min-jun": "Phantom^Min-jun=幻^民俊=팬텀^민준",
}


@dataclass(frozen=True, slots=True)
class Person:
    """One invented patient.

    Attributes
    ----------
    number
        Number of the patient; the same number and seed give the same person.
    name, sex
        As in Patient's Name and Patient's Sex.
    birth_date, visits
        Birth date and the two dates of imaging.
    scale
        Body size relative to a grown man, along each axis.
    girth_mm
        Thickness of the fat layer, mm.
    findings
        The person's findings of ``FINDINGS``.
    side
        Side of one-sided findings: -1 for right, 1 for left.
    seed
        Seed of the whole hospital.
    """

    number: int
    name: str
    sex: str
    birth_date: date
    visits: tuple[date, date]
    scale: float
    girth_mm: float
    findings: tuple[str, ...]
    side: int
    seed: int

    def random(self, *stream: int) -> np.random.Generator:
        """Random numbers for one purpose. They do not depend on how many others are drawn."""
        return np.random.default_rng([self.seed, self.number, *stream])

    def age_years(self, visit: int) -> int:
        """Age at a visit, in whole years."""
        return (self.visits[visit] - self.birth_date).days * 400 // 146097


def person(number: int, seed: int) -> Person:
    """The patient with a number in the hospital with a seed."""
    random = np.random.default_rng([seed, number, 0])
    sex = "FM"[int(random.integers(2))]
    child = number % 8 == 5
    age_days = int(random.uniform(5, 15) * 365.25) if child else int(random.uniform(20, 88) * 365.25)
    first = date(2019, 1, 7) + timedelta(days=int(random.integers(0, 1800)))
    second = first + timedelta(days=int(random.integers(20, 400)))
    grown = (0.97 if sex == "F" else 1.04) * float(random.normal(1.0, 0.035))
    scale = 0.58 + 0.36 * (age_days / 365.25 - 5) / 10 if child else grown * 0.98
    girth = float(random.uniform(4, 10)) if child else float(np.clip(random.gamma(3.2, 5.5), 5, 48))
    given = _GIVEN[sex][int(random.integers(len(_GIVEN[sex])))]
    return Person(
        number=number,
        name=_IDEOGRAPHIC.get(given, f"Phantom^{given}"),
        sex=sex,
        birth_date=first - timedelta(days=age_days),
        visits=(first, second),
        scale=scale,
        girth_mm=girth,
        findings=_findings(random),
        side=int(random.choice([-1, 1])),
        seed=seed,
    )


def _findings(random: np.random.Generator) -> tuple[str, ...]:
    """Findings of one person. About a third of the patients have each, and nobody has both a nodule and a mass."""
    drawn = random.random(5)
    chance = {"enlarged heart": 0.33, "effusion": 0.33, "enlarged ventricles": 0.25, "brain tumour": 0.3}
    drawn_findings = {name for (name, share), draw in zip(chance.items(), drawn[:4], strict=True) if draw < share}
    if drawn[4] < 0.6:
        drawn_findings.add("nodule" if drawn[4] < 0.3 else "mass")
    return tuple(name for name in FINDINGS if name in drawn_findings)

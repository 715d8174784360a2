"""Chapter 04's laboratory: the law of every sampler's output under the reader's hand."""

from __future__ import annotations

from typing import Any

import torch
import traitlets

from fewsteps import results, theory
from fewsteps.filters import IDENTITY, Filter, zone_gains
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.figure import Figure

SIZE = 64
LEVELS = (100.0, 0.02)
VARIANCE = 0.25
SETS = {"cifar10": "CIFAR-10", "lfw": "faces (LFW)", "kodak": "Kodak", "fashion_mnist": "Fashion-MNIST"}
WHERE = ("all", "prior", "predictor", "corrector")


class FewStepLab(Figure):
    """Chapter 04: what a sampler with few steps does to every frequency of Gaussian data.

    Data in [-1, 1] at 64 px, geometric noise levels from 100 to 0.02; frequencies are DCT rings, joined to 200.

    Parameters
    ----------
    sampler, T, spectrum, exponent, lam, r, where, drift, distance
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Notes
    -----
    Source: TDAS-7, TDAS-9, PDS-3, on Gaussian data.
    """

    _esm = bundle("few_step_lab.js")
    _css = HERE / "lab.css"
    setting = traitlets.Dict().tag(sync=True)
    spectra = traitlets.Dict().tag(sync=True)
    sampler = traitlets.Enum(tuple(theory.RIVALS), "reverse").tag(sync=True)
    T = traitlets.Int(50, min=2, max=1000).tag(sync=True)
    spectrum = traitlets.Enum(("law", *SETS), "law").tag(sync=True)
    exponent = traitlets.Float(2.0, min=0, max=4).tag(sync=True)
    lam = traitlets.Float(0.9, min=0.5, max=1.5).tag(sync=True)
    r = traitlets.Float(0.4, min=0, max=1).tag(sync=True)
    where = traitlets.Enum(WHERE, "all").tag(sync=True)
    drift = traitlets.Bool(False).tag(sync=True)
    distance = traitlets.Enum(("w2", "kl"), "w2").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        self._rings = theory.rings(SIZE, most=200)
        super().__init__(**traits)
        self.setting = {
            "size": SIZE,
            "levels": list(LEVELS),
            "variance": VARIANCE,
            "squared": self._rings.squared.tolist(),
            "frequency": self._rings.frequency.tolist(),
            "count": self._rings.count.tolist(),
        }
        # The last table of a set is the one reduced to the smaller size.
        table = {row["set"]: row for row in results.read("spectra")["rows"]}
        spectra = {}
        for name, label in SETS.items():
            frequency, power = (torch.tensor(table[name][key][1:]) for key in ("frequency", "power"))
            variance = theory.on_rings(self._rings, frequency, power, table[name]["exponent_of_mean"])
            spectra[name] = {"label": label, "variance": [float(f"{float(v):.6g}") for v in variance]}
        self.spectra = spectra  # in one piece: what changes inside a trait does not reach the page

    def data(self) -> theory.RingData:
        """The data that the controls describe."""
        if self.spectrum == "law":
            variance = theory.power_law(self._rings, self.exponent, VARIANCE)
        else:
            variance = torch.tensor(self.spectra[self.spectrum]["variance"], dtype=torch.float64)
        return theory.RingData(self._rings, variance, LEVELS)

    def steps(self) -> int:
        """Steps of T iterations: for Langevin a level takes several."""
        return max(1, self.T // theory.MOVES) if self.sampler == "langevin" else self.T

    def filter(self) -> Filter:
        """The filter that the controls describe, on rings."""
        mask = zone_gains(self._rings.squared, (SIZE, SIZE), self.lam, self.r)
        return self.data().filter(mask, where=None if self.where == "all" else {self.where}, drift=self.drift)

    def law(self, filt: Filter | None = IDENTITY) -> theory.Law:
        """The law of the sampler's output, from the sampler itself.

        Parameters
        ----------
        filt : Filter or None
            None: the one that the controls describe.

        Returns
        -------
        Law

        Raises
        ------
        ParameterError
            If the sampler cannot use the filter as it is placed.
        """
        return self.data().run(self.sampler, self.steps(), self.filter() if filt is None else filt)

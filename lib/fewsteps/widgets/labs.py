"""The laboratories of the book, one class each."""

from __future__ import annotations

from typing import Any

import traitlets
from torch import Tensor

from fewsteps import data, spectra, wiener
from fewsteps.errors import ParameterError
from fewsteps.schedules import PIXEL_MIN, PixelAware
from fewsteps.widgets.bundle import HERE, bundle
from fewsteps.widgets.figure import Figure

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "grass")


class Pictures(Figure):
    """Pictures as bytes, for the front end to work on."""

    _css = HERE / "lab.css"
    photos = traitlets.Bytes().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    size = traitlets.Int(256).tag(sync=True)
    photo = traitlets.Int(0, min=0).tag(sync=True)

    @traitlets.validate("photo")
    def _photo_exists(self, proposal: Any) -> int:
        if self.names and proposal.value >= len(self.names):
            raise ParameterError(f"photo must be an integer from 0 to {len(self.names) - 1}, not {proposal.value}.")
        return proposal.value


class _Lab(Pictures):
    """Photographs in colour."""

    seed = traitlets.Int(1).tag(sync=True)

    def __init__(self, size: int = 256, photographs: tuple[str, ...] = PHOTOGRAPHS, **traits: Any) -> None:
        if size < 8 or size & (size - 1):
            raise ParameterError(f"size must be a power of two of at least 8 (the page's FFT asks for it), not {size}.")
        self._images = photographs_of(size, photographs)
        levels = (self._images * 255).round().byte().permute(0, 2, 3, 1).contiguous()
        super().__init__(photos=levels.numpy().tobytes(), names=list(photographs), size=size, **traits)


def photographs_of(size: int, names: tuple[str, ...]) -> Tensor:
    """Photographs by name, (N, 3, size, size) in [0, 1].

    Raises
    ------
    ParameterError
        If one is unknown, or none is named.
    """
    pictures = data.load("photos", "all", size)
    known = pictures.names or ()
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ParameterError(f"photographs must be at least one name out of {', '.join(known)}, not {names}.")
    return pictures.images[[known.index(name) for name in names]]


class WienerLab(_Lab):
    """Chapter 01: the Wiener filter acting on a photograph.

    Parameters
    ----------
    size : int
        Pixels along a side, a power of two.
    photographs : tuple of str
        Names out of ``data.load("photos").names``.
    alpha_bar, exponent, form, prior, photo
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Raises
    ------
    ParameterError
        If `size` is no power of two or a photograph is unknown.

    Notes
    -----
    Source: SD-1, Eq. 6 and Fig. 3.
    """

    _esm = bundle("wiener_lab.js")
    alpha_bar = traitlets.Float(0.5, min=1e-6, max=1 - 1e-6).tag(sync=True)
    exponent = traitlets.Float(2.0, min=0, max=4).tag(sync=True)
    form = traitlets.Enum(wiener.FORMS, "correct").tag(sync=True)
    prior = traitlets.Enum(("law", "own"), "law").tag(sync=True)
    spectra = traitlets.List().tag(sync=True)

    def __init__(self, size: int = 256, photographs: tuple[str, ...] = PHOTOGRAPHS, **traits: Any) -> None:
        super().__init__(size, photographs, **traits)
        self.spectra = [_measured(2 * image - 1) for image in self._images]

    def response(self, frequency: Tensor) -> Tensor:
        """G at `frequency` (cycles per pixel) for the power law that the controls describe, computed by the library.

        Parameters
        ----------
        frequency : Tensor

        Returns
        -------
        Tensor

        Raises
        ------
        ParameterError
            If the filter assumes the photograph's own spectrum, which is no function of the controls.
        """
        if self.prior != "law":
            raise ParameterError(f"prior must be 'law' for a response in closed form, not {self.prior!r}.")
        radii = spectra.radius((self.size, self.size)).flatten()[1:]
        image = 2 * self._images[self.photo].double() - 1
        variance = image.var((-2, -1), correction=0).mean()
        amplitude = variance * (len(radii) + 1) / (radii**-self.exponent).sum()
        return wiener.reconstruction_response(amplitude * frequency**-self.exponent, self.alpha_bar, form=self.form)  # type: ignore[arg-type]


class SnrLab(_Lab):
    """Chapter 03: forward processes on a pixel and on a photograph.

    Parameters
    ----------
    size, photographs
        As for :class:`WienerLab`.
    t, gamma, T, pixel, form, photo
        Where the controls stand at first; traits of the same names follow the reader's hand.

    Raises
    ------
    ParameterError
        If `size` is no power of two or a photograph is unknown.

    Notes
    -----
    Source: PX-1, PX-2, PX-4, PD-1.
    """

    _esm = bundle("snr_lab.js")
    t = traitlets.Float(0.25, min=0, max=1).tag(sync=True)
    gamma = traitlets.Float(20.0, min=0.5, max=100).tag(sync=True)
    T = traitlets.Int(500, min=1, max=1000).tag(sync=True)
    pixel = traitlets.Float(0.05, min=PIXEL_MIN, max=1).tag(sync=True)
    form = traitlets.Enum(("correct", "printed"), "correct").tag(sync=True)

    def schedule(self) -> PixelAware:
        """The pixel-aware schedule of the photograph under the controls, for use in Python."""
        image = self._images[self.photo].double().clamp(PIXEL_MIN, 1)
        return PixelAware(image, self.gamma, form=self.form, steps=self.T)  # type: ignore[arg-type]


def _measured(image: Tensor) -> dict[str, Any]:
    """Radial spectrum and fitted law of one photograph in [-1, 1], as plain numbers for the page."""
    power = spectra.power_spectrum(image, window="hann", centred=True)
    spectrum = spectra.radial_mean(power)
    law = spectra.fit_power_law(spectrum)
    kept = slice(1, None)  # ring 0 is the mean colour
    return {
        "frequency": [round(float(f), 6) for f in spectrum.frequency[kept]],
        "power": [float(f"{float(p):.4g}") for p in spectrum.power[kept]],
        "exponent": law.exponent,
    }

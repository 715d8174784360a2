"""PixelAware's networks on every data set and for every T beside each other, for chapter 09."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fewsteps.experiments import pixel_tables
from fewsteps.experiments.pixel_tables import Measured

SUFFIXES = ("", "-100", "-200")
UNKNOWN = "–"
VERDICTS = (
    pixel_tables.verdict_scale,
    pixel_tables.verdict_noises,
    pixel_tables.verdict_algorithm,
    pixel_tables.verdict_either,
    pixel_tables.verdict_pass,
)


def every() -> list[Measured]:
    """Those whose images are measured, data sets in the order of chapter 09 and of each the smallest T first.

    Notes
    -----
    Source: PX-9; PX-6 (T of 50, 100 and 200).
    """
    found = (pixel_tables.read(data, suffix) for data in pixel_tables.SETS for suffix in SUFFIXES)
    return [one for one in found if one.of("images")]


def table(several: Sequence[Measured]) -> tuple[list[str], list[list[str]]]:
    """The numbers that the verdicts are about, a column for each.

    Parameters
    ----------
    several : sequence of Measured

    Returns
    -------
    columns : list of str
    lines : list of list of str

    Notes
    -----
    Source: PX-5, PX-6, PX-8, PX-9.
    """
    columns = ["", *(found.title for found in several)]
    return columns, [[name, *(value(found) for found in several)] for name, value in LINES.items()]


def verdicts(found: Measured) -> str:
    """All of a column's verdicts, a list in Markdown below the column's title.

    Notes
    -----
    Source: PX-5, PX-6, PX-8, PX-9.
    """
    said = "\n".join(f"- {verdict(found)}" for verdict in VERDICTS)
    return f"**{found.title}**\n\n{said}"


def _scale(who: str, measure: str) -> Callable[[Measured], str]:
    def value(found: Measured) -> str:
        rows = found.of("scale", who=who)
        return f"{sum(row[measure] for row in rows) / len(rows):.3f}" if rows else UNKNOWN

    return value


def _noise(who: str) -> Callable[[Measured], str]:
    def value(found: Measured) -> str:
        rows = [row for row in found.of("noise") if row["i"] == row["T"]]
        return f"{rows[0]['ratios'][who]:.2f}" if rows else UNKNOWN

    return value


def _form(form: str, start: str) -> Callable[[Measured], str]:
    def value(found: Measured) -> str:
        entry = pixel_tables.entries(found).get((form, start))
        return UNKNOWN if entry is None else pixel_tables.span(entry)

    return value


def _rival(label: str) -> Callable[[Measured], str]:
    def value(found: Measured) -> str:
        entry = next((entry for entry in pixel_tables.rivals(found) if entry.method == label), None)
        return UNKNOWN if entry is None else pixel_tables.span(entry)

    return value


def _floor(found: Measured) -> str:
    return f"{found.of('images')[0]['floor']:.2g}"


def _squares(side: int) -> Callable[[Measured], str]:
    def value(found: Measured) -> str:
        return next((f"{row['value']:.3g}" for row in found.of("squares", side=side)), UNKNOWN)

    return value


def _share(found: Measured) -> str:
    for row in found.of("time"):
        seconds, ddpm = row["seconds"], f"DDPM, {row['T']}"
        return f"{seconds['combined'] / seconds[ddpm]:.2g}"
    return UNKNOWN


def _copies(found: Measured) -> str:
    rows = [row for row in found.of("images", form="combined", start="latent") if "copies" in row]
    return f"{rows[0]['copies']['nearer']:.1%}" if rows else UNKNOWN


LINES: dict[str, Callable[[Measured], str]] = {
    "SSIM of the scale": _scale("scale", "ssim_scale"),
    "SSIM of the image's own estimate, as a scale": _scale("direct", "ssim_scale"),
    "error of the image, read back from the scale": _scale("scale", "image_rmse"),
    "error of the image, from the scale's logarithm": _scale("scale-log", "image_rmse"),
    "error of the image, from its own estimator": _scale("direct", "image_rmse"),
    "error of the noises, parallel network": _noise("network"),
    "error of the noises, the last of them shared out": _noise("last"),
    "error of the noises, single head": _noise("single"),
    "FD of as many real images (floor)": _floor,
    "FD of real images in squares of 2 px": _squares(2),
    "FD of real images in squares of 4 px": _squares(4),
    "the scale alone, from N(0, I)": _form("scale", "normal"),
    "the scale alone, from the law of vectors": _form("scale", "latent"),
    "Algorithm 1 as printed": _form("printed", "latent"),
    "Eq. 4's factor, no fresh noise": _form("posterior, no noise", "latent"),
    "all noises and the scale, weighted": _form("combined", "latent"),
    "one head": _form("single", "latent"),
    "one head, 10 predictions, new noise": _form("single x10", "latent"),
    "one head, 10 predictions, new noise by one schedule": _form("single x10, common", "latent"),
    "one head, 10 predictions, the noise kept": _form("single x10, kept", "latent"),
    "head of either schedule, 10 predictions, the noise kept": _form("either x10, kept", "latent"),
    "DDIM, 10 calls": _rival("DDIM, 10"),
    "DDIM, 100 calls": _rival("DDIM, 100"),
    "time of one pass over DDPM's": _share,
    "nearer to training images than 1 % of test images": _copies,
}
"""What a line is called, and its entry for a column. Distances of forms are from the law of vectors if not said."""

"""What ``tools/measure_pixel.py`` found, as chapter 09 shows it: tables, and verdicts computed from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fewsteps import figures
from fewsteps.experiments import boards, pixel_aware
from fewsteps.experiments.pixel_aware import FORMS

if TYPE_CHECKING:
    from IPython.display import Markdown

ESTIMATES = {
    "scale": "the scale",
    "scale-log": "its logarithm",
    "direct": "the image (appendix F)",
    "constant": "nothing: a constant",
}
WHO = {
    "network": "parallel network",
    "regression": "linear regression",
    "single": "single head",
    "oracle": "who knows the image",
}
"""Of :func:`fewsteps.experiments.pixel_measures.noise_errors`."""
STARTS = {"normal": "N(0, I)", "pixels": "law of pixels", "latent": "law of vectors"}
"""Of :data:`fewsteps.experiments.starts.STARTS`, what a table calls them."""
PRINTED = ("printed", "printed, no noise", "posterior", "posterior, no noise")
"""The forms that are Algorithm 1: as printed, and with the factor of Eq. 4."""
ONE_PASS = tuple(name for name, form in FORMS.items() if form.predictions <= 1)
BACK = 1.25  # times the error of who says the image: below, a scale gives it back (data/claims.yaml, PX-5)
AS_WELL = 1.02  # times the parallel network's error: below, the single head does as well at a step (PX-6)
QUARTER = 0.25  # of DDPM's time at equal T (PX-9)


@dataclass(frozen=True)
class Measured:
    """All that is known of one data set's networks.

    Attributes
    ----------
    data : str
    rows : sequence of mappings
        As the tool wrote them, with those of the samplers beside them.
    """

    data: str
    rows: Sequence[Mapping[str, Any]]

    def of(self, kind: str, **wanted: Any) -> list[Mapping[str, Any]]:
        """Rows of one kind, those that say all of this."""
        return [row for row in self.rows if row["kind"] == kind and wanted.items() <= row.items()]


def read(data: str, suffix: str = "") -> Measured:
    """What there is of a data set's networks; no rows before the tool has run.

    Parameters
    ----------
    data : str
    suffix : str
        Of the networks' names: "" for T = 50, "-100" or "-200".

    Raises
    ------
    DataError
        If the table is damaged.

    Notes
    -----
    Source: PX-5, PX-6, PX-8, PX-9.
    """
    rows = pixel_aware.measured(data=data)
    return Measured(data, [row for row in rows if row.get("suffix", suffix) == suffix])


def shown(
    found: Measured,
    pair: Callable[[Measured], tuple[list[str], list[list[str]]]],
    before: str,
    verdict: Callable[[Measured], str] | None = None,
) -> Markdown:
    """One of the tables below with its verdict, or that its networks are not trained yet.

    Parameters
    ----------
    found : Measured
    pair : callable
        Columns and lines of what was measured.
    before : str
        What the table is called.
    verdict : callable, optional
    """
    columns, lines = pair(found)
    after = verdict(found) if verdict and lines else ""
    return figures.measured(columns, lines, data=found.data, before=before, after=after)


def scales(found: Measured) -> tuple[list[str], list[list[str]]]:
    """How like the truth every estimator's scale is, by step, and the error of the image read back from it.

    Returns
    -------
    columns : list of str
    lines : list of list of str

    Notes
    -----
    Source: PX-5, Fig. 3 and Appendix E; PX-10, Appendix F.
    """
    columns = [
        "estimates",
        "step i",
        "SSIM of the scale",
        "of alpha-bar",
        "of the image read back",
        "error of that image",
    ]
    measures = ("ssim_scale", "ssim_alpha_bar", "ssim_image", "image_rmse")
    rows = found.of("scale")
    lines = [
        [ESTIMATES[who], str(row["i"]), *(f"{row[measure]:.3f}" for measure in measures)]
        for who in ESTIMATES
        for row in rows
        if row["who"] == who
    ]
    return columns, lines


def verdict_scale(found: Measured) -> str:
    """Whether the scale is easier to estimate than the image, and does not give it back.

    Notes
    -----
    Source: PX-5, section 3.2 and Appendix F.
    """
    by: dict[str, list[Mapping[str, Any]]] = {}
    for row in found.of("scale"):
        by.setdefault(row["who"], []).append(row)
    like = [row["ssim_scale"] for row in by["scale"]]
    less = _mean(row["less"][0] for row in by["direct"])
    half = _mean(row["less"][1] for row in by["direct"])  # one set of images at all steps: no root of their number
    scale, direct, constant = (_mean(row["image_rmse"] for row in by[who]) for who in ("scale", "direct", "constant"))
    easier, back = less - half > 0, scale <= BACK * direct
    who = "less like it" if easier else "as like it" if less + half > 0 else "more like it"
    return (
        f"The SSIM of the scale is {min(like):.2f} to {max(like):.2f} over the steps. Put through exp(−γx), the "
        f"image's own estimate is {who} ({-less:+.3f} ± {half:.3f}): that the scale is easier to estimate "
        f"**{'holds' if easier else 'does not hold'}** on {found.data}. The image read back from the scale has an "
        f"error of {scale:.3f}, from its own estimator {direct:.3f}, a constant {constant:.3f}: that the scale holds "
        f"only coarse structure **{'does not hold' if back else 'holds'}** there."
    )


def noises(found: Measured) -> list[tuple[Mapping[str, Any], str]]:
    """What is known of predicted noises by the step they are seen from, the last first, and a panel's title for each.

    Notes
    -----
    Source: PX-6, Eq. 15.
    """
    rows = sorted(found.of("noise"), key=lambda row: -row["i"])
    return [(row, f"seen from step {row['i']} of {row['T']}") for row in rows]


def noise_table(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Error above that of one who knows the image, in units of the linear regression's: 0 is perfect.

    Notes
    -----
    Source: PX-6.
    """
    columns = ["seen from", "parallel network", "single head", "steps at which the single head does as well"]
    lines = [
        [
            title.removeprefix("seen from "),
            *(f"{row['ratios'][who]:.2f}" for who in ("network", "single")),
            f"{_as_well(row)} of {row['i']}",
        ]
        for row, title in noises(found)
    ]
    return columns, lines


def verdict_noises(found: Measured) -> str:
    """Whether sub-networks of their own predict the noises better than one head that says the image.

    Notes
    -----
    Source: PX-6, section 3.3.
    """
    rows = [row for row, _ in noises(found)]
    as_well, steps = sum(map(_as_well, rows)), sum(row["i"] for row in rows)
    verdict = "holds" if not as_well else "holds in part" if as_well < steps else "does not hold"
    said = " and ".join(f"{_as_well(row)} of {row['i']} steps seen from step {row['i']}" for row in rows)
    return (
        f"One head does as well at {said}: that sub-networks of their own are what it takes "
        f"**{verdict}** on {found.data}."
    )


def _as_well(row: Mapping[str, Any]) -> int:
    errors = row["errors"]
    return sum(one <= AS_WELL * many for one, many in zip(errors["single"], errors["network"], strict=True))


def entries(found: Measured, seeds: Iterable[int] | None = None) -> dict[tuple[str, str], boards.Entry]:
    """Distances of every form from every start, over its seeds.

    Parameters
    ----------
    found : Measured
    seeds : iterable of int, optional
        These alone.

    Notes
    -----
    Source: PX-8, PX-9.
    """
    among = None if seeds is None else set(seeds)
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in found.of("images"):
        if row["form"] in FORMS and (among is None or row["seed"] in among):
            grouped.setdefault((row["form"], row["start"]), []).append(row)
    return {
        key: boards.pooled(FORMS[key[0]].label, FORMS[key[0]].nfe, rows[0]["nfe"], rows)
        for key, rows in grouped.items()
    }


def forms(found: Measured) -> tuple[list[str], list[list[str]]]:
    """The distance of every way to an image from each of the starts, with its calls, time and finite pixels.

    Notes
    -----
    Source: PX-8, Algorithm 1.
    """
    columns = ["way", "calls", *(f"FD from {called}" for called in STARTS.values()), "ms per image", "finite pixels"]
    by = entries(found)
    lines = []
    for form in dict.fromkeys(form for form, _ in by):
        rows = found.of("images", form=form)
        distances = (_span(by[form, start]) if (form, start) in by else "–" for start in STARTS)
        # The least over seeds and starts: what else ran beside it only made it slower.
        taken = min(row["seconds"] for row in rows)
        finite = min(row["finite"] for row in rows)
        lines.append([FORMS[form].label, str(FORMS[form].nfe), *distances, f"{1e3 * taken:.2g}", f"{finite:.0%}"])
    return columns, lines


def verdict_algorithm(found: Measured) -> str:
    """Whether Algorithm 1 makes better images than the scale alone from any start, and what does.

    Notes
    -----
    Source: PX-8, Algorithm 1.
    """
    by = entries(found)
    said, better = [], []
    for start, called in STARTS.items():
        alone = by["scale", start]
        best = min((by[form, start] for form in PRINTED), key=lambda entry: entry.value)
        better.append(boards.apart(best, alone) < 0)
        said.append(f"{_span(alone)} and {_span(best)} from {called}")
    verdict = "holds" if all(better) else "holds in part" if any(better) else "does not hold"
    return (
        f"The scale alone, decoded, and the best of Algorithm 1's four forms: {'; '.join(said)}. That the path "
        f"generates images **{verdict}** on {found.data}. {_change(found)}"
    )


def _change(found: Measured) -> str:
    """Which other forms are nearer than the scale alone, on other seeds than the one that chose them."""
    first, judged = _halves(found)
    key = _best(first, [form for form in FORMS if form not in (*PRINTED, "scale")])
    own = judged[key]
    alone = judged[_best(first, ["scale"])]
    words = {-1: "nearer to the data than", 0: "not apart from", 1: "farther than"}[boards.apart(own, alone)]
    return (
        f"Chosen on the first seed among the forms that do not amplify: *{own.method}*, from {STARTS[key[1]]}; on the "
        f"others {_span(own)}, {words} the best scale alone ({_span(alone)})."
    )


def rivals(found: Measured) -> list[boards.Entry]:
    """The samplers of Tables 1 and 2, over their seeds.

    Notes
    -----
    Source: PX-9, Tables 1 and 2.
    """
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for row in found.of("rival"):
        grouped.setdefault(row["label"], []).append(row)
    return [boards.pooled(label, rows[0]["nfe"], rows[0]["nfe"], rows) for label, rows in grouped.items()]


def quality(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Parameters, calls, distance and time of one pass, the best first, beside the samplers of Tables 1 and 2.

    Notes
    -----
    Source: PX-9, Tables 1 and 2.
    """
    columns = ["method", "parameters", "calls", "images", "FD", "floor", "ms per image"]
    size = {row["checkpoint"].partition("-")[2]: row["parameters"] for row in found.of("network")}
    lines = []
    by = sorted(entries(found).items(), key=lambda pair: pair[1].value)
    for (form, start), entry in by:
        if form not in ONE_PASS:
            continue
        told = size["scale"] + (0 if form == "scale" else size["single" if FORMS[form].single else "parallel"])
        taken = min(row["seconds"] for row in found.of("images", form=form, start=start))
        lines.append([f"{entry.method}, from {STARTS[start]}", *_line(entry, told, taken)])
    for entry in rivals(found):
        rows = found.of("rival", label=entry.method)
        lines.append([entry.method, *_line(entry, rows[0]["parameters"], min(row["seconds"] for row in rows))])
    return columns, lines


def _line(entry: boards.Entry, parameters: int, taken: float) -> list[str]:
    count = f"{entry.count} × {entry.seeds}"
    return [
        f"{parameters / 1e6:.1f} M",
        f"{entry.calls:g}",
        count,
        _span(entry),
        f"{entry.floor:.2g}",
        f"{1e3 * taken:.3g}",
    ]


def verdict_pass(found: Measured) -> str:
    """Whether one pass is as good as DDIM with 100 calls, at a quarter of DDPM's time, and better than the scale alone.

    Notes
    -----
    Source: PX-9, Tables 1 and 2.
    """
    beside = {entry.method: entry for entry in rivals(found)}
    if not beside.keys() >= {"DDIM, 100", "DDPM, 50"}:
        return f"PX-9 cannot be judged yet: DDIM or DDPM is not measured on {found.data}."
    first, judged = _halves(found)
    key = _best(first, [form for form in ONE_PASS if form != "scale"])
    own, ddim, alone = judged[key], beside["DDIM, 100"], judged[_best(first, ["scale"])]
    taken = min(row["seconds"] for row in found.of("images", form=key[0], start=key[1]))
    slow, steps = beside["DDPM, 50"], found.of("images")[0]["T"]
    share = taken / (min(row["seconds"] for row in found.of("rival", label=slow.method)) * steps / slow.nfe)
    worse, as_good = boards.apart(own, ddim) > 0, boards.apart(alone, own) <= 0
    words = "not as good as" if worse else "as good as"
    wins = "no better than" if as_good else "better than"
    verdict = "does not hold" if worse or as_good or share > QUARTER else "holds"
    return (
        f"Chosen on the first seed: *{own.method}*, from {STARTS[key[1]]}. On the others {_span(own)}, {words} DDIM "
        f"with 100 calls ({_span(ddim)}) and {wins} the scale alone ({_span(alone)}), in {share:.2g} of the time of "
        f"DDPM with {steps} steps. That one pass is as good and four times as fast **{verdict}** on {found.data}."
    )


def neighbours(found: Measured) -> tuple[list[str], list[list[str]]]:
    """How near samples are to training images, beside as many test images, from the law of vectors.

    Notes
    -----
    Source: PX-9 (no copies).
    """
    columns = ["way", "nearest 1 %", "10 %", "test images: 1 %", "10 %", "nearer than 1 % of test images"]
    rows = [row for row in found.of("images", start="latent", seed=0) if "copies" in row]
    lines = []
    for row in rows:
        said = row["copies"]
        lines.append(
            [
                FORMS[row["form"]].label,
                *(f"{value:.3f}" for value in (*said["samples"][:2], *said["test"][:2])),
                f"{said['nearer']:.1%}",
            ]
        )
    return columns, lines


def memory() -> tuple[list[str], list[list[str]]]:
    """The largest memory that a training step of the parallel network takes, by T and by how many noises it looks at.

    Notes
    -----
    Source: PX-6.
    """
    columns = ["T", "sub-networks in a step", "parameters", "largest memory", "seconds"]
    lines = [
        [
            str(row["T"]),
            str(row["sampled"] or row["T"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['mib']:,} MiB",
            f"{row['seconds']:.2g}",
        ]
        for row in pixel_aware.measured(kind="memory")
    ]
    return columns, lines


def _halves(found: Measured) -> tuple[dict[tuple[str, str], boards.Entry], dict[tuple[str, str], boards.Entry]]:
    """Entries of the first seed, which may choose, and of the others, which judge; of one seed both are the same."""
    first, *rest = sorted({row["seed"] for row in found.of("images")})
    return entries(found, [first]), entries(found, rest or [first])


def _best(by: Mapping[tuple[str, str], boards.Entry], among: Iterable[str]) -> tuple[str, str]:
    """The form out of these and its start that have the least distance."""
    of = set(among)
    return min((key for key in by if key[0] in of), key=lambda key: by[key].value)


def _span(entry: boards.Entry) -> str:
    return f"{entry.value:.3g} ± {entry.half:.1g}" if math.isfinite(entry.value) else "–"


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)

"""What ``tools/measure_pixel.py`` found, as chapter 09 shows it: tables, and verdicts computed from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewsteps import figures
from fewsteps.errors import DataError
from fewsteps.experiments import boards, pixel_aware
from fewsteps.experiments.pixel_aware import FORMS

SETS = {"mnist": "MNIST", "fashion": "Fashion-MNIST", "cifar10": "CIFAR-10"}
USUAL = 50  # the T that a title does not name
ESTIMATES = {
    "scale": "the scale",
    "scale-log": "its logarithm",
    "direct": "the image (appendix F)",
    "constant": "nothing: a constant",
}
WHO = {
    "network": "parallel network",
    "last": "its last noise, shared out",
    "regression": "linear regression",
    "single": "single head",
    "oracle": "the optimum",
}
"""Of :func:`fewsteps.experiments.pixel_measures.noise_errors`."""
OTHERS = ("last", "single")
STARTS = {"normal": "law N(0, I)", "pixels": "law of pixels", "latent": "law of vectors"}
"""Of :data:`fewsteps.experiments.starts.STARTS`, what a table calls them."""
NOISES = {
    "increment": "of each step, Eq. 2",
    "marginal": "of each state, Eq. 3",
    "mean": "its mean, given $x_T$ and the image",
    "last": "of $x_T$, for all steps",
}
FACTORS = {"printed": r"$\sqrt{1-\alpha_j}$, printed", "posterior": "Eq. 4, corrected", "ddim": "DDIM"}
"""Of the path with true noises: what Z is and the factor before it, and what a table calls them."""
PAIRS = (("increment", "printed"), ("mean", "printed"), ("mean", "posterior"), ("last", "ddim"))
"""Those that arrive where nothing is wrong, and the pair that is printed."""
PRINTED = ("printed", "printed, no noise", "posterior", "posterior, no noise")
"""The forms that are Algorithm 1: as printed, and with the factor of Eq. 4."""
ONE_PASS = tuple(name for name, form in FORMS.items() if form.predictions <= 1)
# What overturns a claim, as data/claims.yaml says it.
ALIKE = 0.02  # of SSIM, by which the scale has to be more like the truth (PX-5)
BACK = 1.25  # times the error of who says the image: up to this a scale gives it back (PX-5)
AS_WELL = (
    1.1  # times the parallel network's error above the least there can be: up to this one head does as well (PX-6)
)
TOLD = (
    0.01  # of a noise's variance: where the regression is nearer to the least there can be, a step tells nothing (PX-6)
)
QUARTER = 0.25  # of DDPM's time at equal T (PX-9)


@dataclass(frozen=True)
class Measured:
    """All that is known of one data set's networks.

    Attributes
    ----------
    data : str
    rows : sequence of mappings
        As the tool wrote them, with those of the samplers beside them.
    suffix : str
        Of the networks' names.
    """

    data: str
    rows: Sequence[Mapping[str, Any]]
    suffix: str = ""

    @property
    def title(self) -> str:
        """The data set, and T where it is not the usual one."""
        steps = next((row["T"] for row in self.rows if "T" in row), USUAL)
        return SETS[self.data] + (f", T = {steps}" if steps != USUAL else "")

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
    return Measured(data, [row for row in rows if row.get("suffix", suffix) == suffix], suffix)


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


def brightness(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Error of the image that every estimator gives back, seen from the last step, by its true brightness.

    Returns
    -------
    columns : list of str
    lines : list of list of str

    Notes
    -----
    Source: PX-5, section 3.2.3; PX-10, Appendix F.
    """
    rows = [row for row in found.of("scale") if "image_rmse_by" in row and row["i"] == row["T"]]
    parts = len(rows[0]["image_rmse_by"]) if rows else 1
    columns = ["estimates", *(f"{k / parts:.1g} to {(k + 1) / parts:.1g}" for k in range(parts))]
    by = {row["who"]: row["image_rmse_by"] for row in rows}
    return columns, [[ESTIMATES[who], *(f"{error:.3f}" for error in by[who])] for who in ESTIMATES if who in by]


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
    easier, back = less - half > ALIKE, scale <= BACK * direct
    return (
        f"The SSIM of the scale is {min(like):.2f} to {max(like):.2f} over the steps; that of the image's own "
        f"estimate, put through exp(−γx), differs by {-less:+.3f} ± {half:.3f}: that the scale is easier to estimate "
        f"**{'holds' if easier else 'does not hold'}** on {found.title}. Over the steps, the image read back from the "
        f"scale has an error of {scale:.3f}, from its own estimator {direct:.3f}, a constant {constant:.3f}: that the "
        f"scale holds only coarse structure **{'does not hold' if back else 'holds'}** there."
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
    """Error above the optimum's, which is given the image, in units of the linear regression's: 0 is perfect.

    And at how many steps others do as well as the parallel network, of those that tell anything.

    Notes
    -----
    Source: PX-6.
    """
    columns = ["seen from", "who", "error above the least", "as well as the parallel network at"]
    lines = []
    for row, title in noises(found):
        for who in ("network", *OTHERS):
            well, of = _as_well(row, who)
            as_well = f"{well} of {of} steps" if who in OTHERS else ""
            lines.append([title.removeprefix("seen from "), WHO[who], f"{row['ratios'][who]:.2f}", as_well])
    return columns, lines


def verdict_noises(found: Measured) -> str:
    """Whether sub-networks of their own predict the noises better than one head does.

    Notes
    -----
    Source: PX-6, section 3.3.
    """
    rows = [row for row, _ in noises(found)]
    counts = {who: [_as_well(row, who) for row in rows] for who in OTHERS}
    every = {who: all(well == of for well, of in found) for who, found in counts.items()}
    never = all(not well for found in counts.values() for well, _ in found)
    verdict = "holds" if never else "does not hold" if every["single"] else "holds in part"
    total = {who: (sum(well for well, _ in found), sum(of for _, of in found)) for who, found in counts.items()}
    trained = {row["checkpoint"].split("-")[1]: row["steps"] for row in found.of("network")}
    return (
        f"One head that says the image does as well at {total['single'][0]} of {total['single'][1]} steps, and the "
        f"last sub-network alone, shared out to all steps, at {total['last'][0]} ({trained['parallel']:,} steps of "
        f"training against {trained['single']:,} of the one head): that it takes a sub-network for every step "
        f"**{verdict}** on {found.title}."
    )


def _as_well(row: Mapping[str, Any], who: str) -> tuple[int, int]:
    """At how many steps somebody does as well as the parallel network, and how many tell anything."""
    least = row["errors"]["oracle"]
    own, many, line = (
        [error - floor for error, floor in zip(row["errors"][one], least, strict=True)]
        for one in (who, "network", "regression")
    )
    told = [(a, b) for a, b, c in zip(own, many, line, strict=True) if c >= TOLD]
    return sum(a <= AS_WELL * b for a, b in told), len(told)


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
    return {key: _pooled(FORMS[key[0]].label, rows) for key, rows in grouped.items()}


def forms(found: Measured) -> tuple[list[str], list[list[str]]]:
    """The distance of every way to an image from each of the starts, with its calls and finite pixels.

    Notes
    -----
    Source: PX-8, Algorithm 1.
    """
    columns = ["way", "calls", *(f"FD from {called}" for called in STARTS.values()), "finite pixels"]
    by = entries(found)
    lines = []
    for form in (form for form in FORMS if any(key[0] == form for key in by)):
        rows = found.of("images", form=form)
        distances = (span(by[form, start]) if (form, start) in by else "–" for start in STARTS)
        finite = min(row["finite"] for row in rows)
        lines.append([FORMS[form].label, str(FORMS[form].nfe), *distances, f"{finite:.1%}"])
    return columns, lines


def algorithm(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Error of Algorithm 1's image with the true scale and noises that are wrong by so much, at this gamma and T.

    Returns
    -------
    columns : list of str
    lines : list of list of str
        Pairs of a noise and a factor that arrive where nothing is wrong, and the pair that is printed.

    Notes
    -----
    Source: PX-8, Algorithm 1; PX-10, Appendix B.
    """
    rows = found.of("algorithm", fresh=False)
    sizes = sorted({row["size"] for row in rows})
    columns = ["Z is the noise", "factor before it", *(f"wrong by {size:g}" for size in sizes)]
    lines = []
    for reading, factor in PAIRS:
        by = {row["size"]: row["rmse"] for row in rows if (row["reading"], row["factor"]) == (reading, factor)}
        if by:
            lines.append([NOISES[reading], FACTORS[factor], *(_error(by[size]) for size in sizes)])
    return columns, lines


def toy(rows: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Error of the image from true noises for every pair of a noise and a factor, without and with fresh noise.

    Parameters
    ----------
    rows : iterable of mapping
        Of :func:`fewsteps.experiments.pixel_measures.algorithm_errors`.

    Returns
    -------
    columns : list of str
    lines : list of list of str

    Notes
    -----
    Source: PX-10, Appendix B.
    """
    by = {(row["reading"], row["factor"], row["fresh"]): row["rmse"] for row in rows if row["size"] == 0}
    return ["Z is the noise", "factor before it", "error of the image", "with fresh noise"], [
        [NOISES[reading], FACTORS[factor], *(_error(by[reading, factor, fresh]) for fresh in (False, True))]
        for reading in NOISES
        for factor in FACTORS
    ]


def squares(found: Measured) -> tuple[list[str], list[list[str]]]:
    """The distance of real test images of which only the means of squares are left, by their side.

    Returns
    -------
    columns : list of str
    lines : list of list of str
        One, or none where they are not measured.

    Notes
    -----
    Source: PX-8, PX-9 (a yardstick of this project's).
    """
    rows = found.of("squares")
    columns = ["real images in squares of", *(f"{row['side']} px" for row in rows)]
    return columns, [["FD", *(f"{row['value']:.3g}" for row in rows)]] if rows else []


def as_far(found: Measured, value: float) -> str:
    """Between which squares of :func:`squares` a distance lies, in words; nothing where they are not measured.

    Parameters
    ----------
    found : Measured
    value : float
        A distance of as many images.

    Notes
    -----
    Source: PX-8, PX-9 (a yardstick of this project's).
    """
    rows = sorted(found.of("squares"), key=lambda row: row["side"])
    nearer = [row["side"] for row in rows if row["value"] <= value]
    farther = [row["side"] for row in rows if row["value"] > value and row["side"] > max(nearer, default=0)]
    if not rows:
        return ""
    if not nearer:
        return f"nearer than real images in squares of {farther[0]} px"
    if not farther:
        return f"farther than real images in squares of {nearer[-1]} px"
    return f"between real images in squares of {nearer[-1]} and of {farther[0]} px"


def weights(found: Measured) -> tuple[list[str], list[list[str]]]:
    """The share that the scale has in the combined image, by its brightness; the noises together have the rest.

    Notes
    -----
    Source: PX-8 (all estimates, weighted).
    """
    shares = next((row["scale"] for row in found.of("weights")), [])
    columns = ["brightness", *(f"{(2 * k + 1) / (2 * len(shares)):.2f}" for k in range(len(shares)))]
    return columns, [["weight of the scale", *(f"{share:.2f}" for share in shares)]] if shares else []


def verdict_algorithm(found: Measured) -> str:
    """Whether Algorithm 1 makes images that the scale alone does not better, and what does.

    Form and start of either are chosen on the first seed and judged on the others.

    Notes
    -----
    Source: PX-8, Algorithm 1.
    """
    if (why := _unready(found)) is not None:
        return f"PX-8 cannot be judged yet: {why}."
    first, judged = _halves(found)
    alone, printed = _best(first, ["scale"]), _best(first, PRINTED)
    other = _best(
        first, [n for n, form in FORMS.items() if not form.factor and n != "scale" and form.network != "either"]
    )
    farther = boards.apart(judged[printed], judged[alone]) > 0
    words = {-1: "nearer to the data than", 0: "not apart from", 1: "farther than"}
    finite = min(row["finite"] for row in found.of("images") if row["form"] in PRINTED)
    said = "all their pixels are finite" if finite == 1 else f"{1 - finite:.2g} of their pixels are not finite"
    seen = as_far(found, judged[printed].value)
    return (
        f"Chosen on the first seed and judged on the others: {_told(judged, alone)}; of Algorithm 1's four forms "
        f"{_told(judged, printed)}{', ' if seen else ''}{seen} (floor {judged[alone].floor:.2g}; {said}). That the "
        f"path generates images **{'does not hold' if farther else 'is not overturned'}** on {found.title}: the path "
        f"is {words[boards.apart(judged[printed], judged[alone])]} the scale alone. Among the forms that do not "
        f"amplify: {_told(judged, other)}, {words[boards.apart(judged[other], judged[alone])]} the scale alone."
    )


def verdict_either(found: Measured) -> str:
    """Whether a head that saw states under one schedule in training makes better images than the scale that it is told.

    Its form and start, and the start of the scale alone, are chosen on the first seed and judged on the others.

    Notes
    -----
    Source: PX-8 (the smallest change that generates).
    """
    if (why := _unready(found)) is not None:
        return f"The head of either schedule cannot be judged yet: {why}."
    first, judged = _halves(found)
    own = [name for name, form in FORMS.items() if form.network == "either"]
    if not any(key[0] in own for key in first):
        return f"The head of either schedule is not trained on {found.title} yet."
    key, alone = _best(first, own), _best(first, ["scale"])
    words = {-1: "nearer to the data than", 0: "not apart from", 1: "farther than"}
    said = f"{_told(judged, key)}, {words[boards.apart(judged[key], judged[alone])]} the scale alone"
    ddim = next((entry for entry in rivals(found) if entry.method == "DDIM, 10"), None)
    beside = "" if ddim is None else f", and {words[boards.apart(judged[key], ddim)]} DDIM with 10 calls ({span(ddim)})"
    nearer = boards.apart(judged[key], judged[alone]) < 0
    return (
        f"Chosen on the first seed and judged on the others: {said} ({span(judged[alone])}){beside}. That this change "
        f"betters the scale alone **{'holds' if nearer else 'does not hold'}** on {found.title}."
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
    return [_pooled(label, rows) for label, rows in grouped.items()]


def quality(found: Measured) -> tuple[list[str], list[list[str]]]:
    """Parameters, steps, calls, distance and time of one pass, every form from its best start, beside Tables 1 and 2.

    Steps are those of the reverse path; without a path, how often the networks were asked for an image.
    Times are of the law of vectors, in turn in one process; of rivals that are not among those, of the images that are
    counted, and none where these were made on a GPU.

    Notes
    -----
    Source: PX-9, Tables 1 and 2.
    """
    columns = ["method", "parameters", "steps", "calls", "images", "FD", "floor", "ms per image"]
    size = {row["checkpoint"].split("-")[1]: row["parameters"] for row in found.of("network")}
    lines = []
    seconds = next((row["seconds"] for row in found.of("time")), {})
    by, shown = sorted(entries(found).items(), key=lambda pair: pair[1].value), set()
    for (form, start), entry in by:
        if form not in ONE_PASS or form in shown:
            continue
        shown.add(form)
        told = size["scale"] + (0 if form == "scale" else size[FORMS[form].network])
        taken = seconds.get(form, math.nan)
        path = next(row["T"] for row in found.of("images")) if FORMS[form].factor else FORMS[form].predictions
        lines.append([f"{entry.method}, from {STARTS[start]}", *_line(entry, told, path, taken)])
    for entry in rivals(found) if lines else ():
        rows = found.of("rival", label=entry.method)
        counted = min((row["seconds"] for row in rows if "seconds" in row), default=math.nan)
        taken = seconds.get(entry.method, counted)
        steps = math.ceil(entry.calls) // (2 if rows[0]["sampler"] == "pc" else 1)
        lines.append([entry.method, *_line(entry, rows[0]["parameters"], steps, taken)])
    return columns, lines


def _line(entry: boards.Entry, parameters: int, steps: int, taken: float) -> list[str]:
    count = f"{entry.count} × {entry.seeds}"
    return [
        f"{parameters / 1e6:.1f} M",
        str(steps),
        f"{entry.calls:g}",
        count,
        span(entry),
        f"{entry.floor:.2g}",
        _ms(taken),
    ]


def verdict_pass(found: Measured) -> str:
    """Whether one pass is as good as DDIM with 100 calls, at a quarter of DDPM's time, and better than the scale alone.

    Form and start are chosen on the first seed and judged on the others; times are of one process, in turn.

    Notes
    -----
    Source: PX-9, Tables 1 and 2.
    """
    ddim = next((entry for entry in rivals(found) if entry.method == "DDIM, 100"), None)
    why = "DDIM is not measured" if ddim is None else _unready(found)
    if ddim is None or why is not None or not (timed := found.of("time")):
        return f"PX-9 cannot be judged yet: {why or 'no times are measured'}."
    first, judged = _halves(found)
    key = _best(first, [form for form in ONE_PASS if form != "scale"])
    own, alone = judged[key], judged[_best(first, ["scale"])]
    seconds, steps = timed[0]["seconds"], timed[0]["T"]
    share = seconds[key[0]] / seconds[f"DDPM, {steps}"]
    worse, as_good = boards.apart(own, ddim) > 0, boards.apart(alone, own) <= 0
    verdict = "does not hold" if worse or as_good or share > QUARTER else "holds"
    return (
        f"Chosen on the first seed and judged on the others: {_told(judged, key)}, "
        f"{'not as good as' if worse else 'as good as'} DDIM with 100 calls ({span(ddim)}) and "
        f"{'no better than' if as_good else 'better than'} the scale alone ({span(alone)}), in {share:.2g} of the "
        f"time of DDPM with {steps} steps. That one pass is as good and four times as fast **{verdict}** on "
        f"{found.title}."
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
    columns = ["T", "sub-networks in a step", "parameters", "largest memory"]
    lines = [
        [
            str(row["T"]),
            str(row["sampled"] or row["T"]),
            f"{row['parameters'] / 1e6:.1f} M",
            f"{row['mib']:,} MiB",
        ]
        for row in pixel_aware.measured(kind="memory")
    ]
    return columns, lines


def _unready(found: Measured) -> str | None:
    """Why the images cannot be judged yet, or None: every form of every network that is there, from every start, with
    two seeds or more.
    """
    rows = [row for row in found.of("images") if row["form"] in FORMS]
    seeds = {row["seed"] for row in rows}
    if len(seeds) < 2:
        return f"images of {len(seeds)} seeds are measured, and one chooses what others judge"
    # The head of either schedule came later: where it is not trained, its forms are not waited for.
    asked = {"parallel", "single", *(FORMS[row["form"]].network for row in rows)}
    asked |= {row["checkpoint"].split("-")[1] for row in found.of("network")}
    ways = [form for form in FORMS.values() if form.network in asked and form.predictions <= rows[0]["T"]]
    wanted = len(ways) * len(STARTS) * len(seeds)
    return None if len(rows) == wanted else f"{len(rows)} of {wanted} measurements of images are there"


def _halves(found: Measured) -> tuple[dict[tuple[str, str], boards.Entry], dict[tuple[str, str], boards.Entry]]:
    """Entries of the first seed, which chooses, and of the others, which judge."""
    first, *rest = sorted({row["seed"] for row in found.of("images")})
    return entries(found, [first]), entries(found, rest)


def _pooled(label: str, rows: Sequence[Mapping[str, Any]]) -> boards.Entry:
    if len({row["seed"] for row in rows}) < len(rows) or len({row["count"] for row in rows}) > 1:
        raise DataError(
            f"data/results/pixel_aware.json holds rows of several counts ({label}): take those of a trial out of it."
        )
    return boards.pooled(label, math.ceil(rows[0]["nfe"]), rows[0]["nfe"], rows)


def _told(by: Mapping[tuple[str, str], boards.Entry], key: tuple[str, str]) -> str:
    return f"*{by[key].method}*, from the {STARTS[key[1]]}, {span(by[key])}"


def _best(by: Mapping[tuple[str, str], boards.Entry], among: Iterable[str]) -> tuple[str, str]:
    """The form out of these and its start that have the least distance."""
    of = set(among)
    return min((key for key in by if key[0] in of), key=lambda key: by[key].value)


def span(entry: boards.Entry) -> str:
    """A distance with half its interval."""
    return f"{entry.value:.3g} ± {entry.half:.1g}" if math.isfinite(entry.value) else "–"


def _error(value: float) -> str:
    """An error of images in float64, where 1e-6 is rounding."""
    return "0 (exact)" if value < 1e-6 else figures.readable(value)


def _ms(seconds: float) -> str:
    if math.isnan(seconds):
        return "–"
    return f"{1e3 * seconds:,.0f}" if seconds >= 0.1 else f"{1e3 * seconds:.2g}"


def _mean(values: Iterable[float]) -> float:
    every = list(values)
    return sum(every) / len(every)

"""What is measured of PixelAware: scales, noises by step, Algorithm 1's amplification, images and their neighbours."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fewsteps import checkpoints, metrics, samplers, spectra, trained
from fewsteps.experiments import gates, pixel_aware, pixels, references, starts
from fewsteps.experiments.pixel_aware import BATCH, BINS, Estimator, Reverse
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.experiments.starts import Law
from fewsteps.samplers.parallel import Path as Trajectory
from fewsteps.samplers.walk import Step
from fewsteps.schedules import PIXEL_MIN, PixelAware, VPLinear, brightness, diffuse, image_scale, noise_share

CALIBRATION = 512  # training images by which errors are known
PARTS = 5  # of brightness, in which the error of an image is told
CALIBRATION_SEED = 2**40 - 2


def similarities(first: Tensor, second: Tensor) -> Tensor:
    """Structural similarity of every pair of images in [0, 1], by scikit-image: windows of 7 x 7, all channels.

    Parameters
    ----------
    first, second : Tensor, shape (N, C, H, W)

    Returns
    -------
    Tensor, shape (N,)
        In float64.

    Notes
    -----
    Source: PX-5, section 3.2.3 and Appendix E.
    """
    from skimage.metrics import structural_similarity

    pairs = zip(first.numpy(), second.numpy(), strict=True)
    said: list[Any] = [structural_similarity(a, b, channel_axis=0, data_range=1.0) for a, b in pairs]
    return torch.tensor(said, dtype=torch.float64)


def states(x0: Tensor, gamma: float, t: float, seed: int = 0, common: Tensor | None = None) -> Tensor:
    """Images put under PixelAware's noise, by one draw; by one schedule for all pixels, of that brightness."""
    x0 = x0.clamp(PIXEL_MIN, 1)
    schedule = PixelAware(x0 if common is None else common, gamma)
    return diffuse(schedule, x0, t, samplers.white_noise(seed, dtype=x0.dtype)(tuple(x0.shape)))


def scale_scores(
    estimators: Mapping[str, Estimator], known: Tensor, unseen: Tensor, at: Sequence[int]
) -> list[dict[str, Any]]:
    """How well the scale, alpha-bar and the image are estimated at some steps.

    Parameters
    ----------
    estimators : mapping of name to Estimator
        All of one gamma and T.
    known, unseen : Tensor, shape (N, C, H, W)
        Training images, whose mean is the constant estimate; and test images.
    at : sequence of int
        Steps i.

    Returns
    -------
    list of dict
        ``who``, ``i``, ``ssim_scale``, ``ssim_alpha_bar``, ``scale_rmse``, and ``ssim_image`` and ``image_rmse`` of
        the image that is read back, -log(x_delta) / gamma, in all and by `PARTS` of the true brightness, the darkest
        first, ``image_rmse_by``. And ``less``, by how much the scale's SSIM is below the
        first estimator's, image by image, with half of its 95 % interval over the images.

    Notes
    -----
    Source: PX-5, Fig. 3 and Appendix E; PX-10, Appendix F.
    """
    some = next(iter(estimators.values()))
    gamma, steps = some.gamma, some.steps
    x0 = unseen.clamp(PIXEL_MIN, 1)
    truth = image_scale(x0, gamma)
    middle = image_scale(known.clamp(PIXEL_MIN, 1).mean(0, keepdim=True), gamma).expand_as(x0)
    part = (x0 * PARTS).long().clamp(0, PARTS - 1)
    rows = []
    for i in at:
        x = states(unseen, gamma, i / steps)
        said = {who: estimator.scale(x, i) for who, estimator in estimators.items()} | {"constant": middle}
        alike = {who: similarities(scale, truth) for who, scale in said.items()}
        first = alike[next(iter(estimators))]
        for who, scale in said.items():
            less, back = first - alike[who], samplers.scale_image(scale, gamma)
            rows.append(
                {
                    "who": who,
                    "i": i,
                    "ssim_scale": float(alike[who].mean()),
                    "less": [float(less.mean()), 1.96 * float(less.std()) / len(less) ** 0.5],
                    "ssim_alpha_bar": float(similarities(scale ** (i / steps), truth ** (i / steps)).mean()),
                    "ssim_image": float(similarities(back, x0).mean()),
                    "scale_rmse": _rms(scale - truth),
                    "image_rmse": _rms(back - x0),
                    "image_rmse_by": [_rms((back - x0)[part == k]) for k in range(PARTS)],
                }
            )
    return rows


def estimated(data: str, count: int = 8, seed: int = 0, folder: Path = checkpoints.FOLDER) -> dict[str, Tensor]:
    """What the estimators make of the last states of images that the data set's own network draws.

    Parameters
    ----------
    data : str
        Name of that network; the estimators' names begin with it.
    count, seed : int
    folder : Path
        Of the estimators.

    Returns
    -------
    dict of str to Tensor, shape (count, C, H, W)
        Images, states, true and estimated scales, and the images that both estimators give back.

    Raises
    ------
    CheckpointError
        If a network is not there.

    Notes
    -----
    Source: PX-5, Fig. 3; PX-10, Fig. 6.
    """
    names = pixel_aware.names(data)
    scale, direct = (Estimator(trained.load(names[end], folder)) for end in ("scale", "direct"))
    x0 = _images_of(data, count, seed)
    x = states(x0, scale.gamma, 1.0, seed + 1)
    with torch.no_grad():
        known, own = (one.scale(x, one.steps) for one in (scale, direct))
    return {
        "image": x0,
        "state at the end": on_grey(x, 1.0),
        "its scale": image_scale(x0, scale.gamma),
        "estimated scale": known,
        "read back from it": samplers.scale_image(known, scale.gamma),
        "image estimated": samplers.scale_image(own, direct.gamma),
    }


def on_grey(x: Tensor, share: float) -> Tensor:
    """States as pictures in [0, 1], on a grey scale that widens with the share of the steps that are done."""
    return ((x - 0.5) / (1 + 2 * share) + 0.5).clamp(0, 1)


def _images_of(data: str, count: int, seed: int) -> Tensor:
    """Images that a data set's own network draws, which may be shown anywhere."""
    labels = gates.usual_labels(checkpoints.card(data))
    return sample(Plan(data, "dpmpp_2m", 20, labels=labels, count=count, seed=seed)).images.clamp(PIXEL_MIN, 1)


def alpha_bars(data: str, at: Sequence[int], seed: int = 0, folder: Path = checkpoints.FOLDER) -> dict[str, Tensor]:
    """The true alpha-bar of one image that the data set's own network draws, and its estimate, step by step.

    Parameters
    ----------
    data : str
        Name of that network; the estimator's name begins with it.
    at : sequence of int
        Steps i.
    seed : int
    folder : Path
        Of the estimator.

    Returns
    -------
    dict of str to Tensor, shape (len(at), C, H, W)
        States, true and estimated alpha-bar.

    Raises
    ------
    CheckpointError
        If a network is not there.

    Notes
    -----
    Source: PX-5, Fig. 5 and Appendix E.
    """
    scale = Estimator(trained.load(pixel_aware.names(data)["scale"], folder))
    x0 = _images_of(data, 1, seed)
    rows: dict[str, list[Tensor]] = {"state": [], "true alpha-bar": [], "estimated": []}
    for i in at:
        share = i / scale.steps
        x = states(x0, scale.gamma, share, seed + 1)
        with torch.no_grad():
            found = scale.scale(x, i) ** share
        true = image_scale(x0, scale.gamma) ** share
        for row, image in zip(rows.values(), (on_grey(x, share), true, found), strict=True):
            row.append(image)
    return {name: torch.cat(images) for name, images in rows.items()}


def ddpm_walk(x0: Tensor, steps: int, noise: starts.Noise) -> tuple[Tensor, Tensor]:
    """There and back under DDPM in that many steps, with the noise of every step given: x_0 ... x_T, twice.

    Parameters
    ----------
    x0 : Tensor
    steps : int
        T.
    noise : callable
        From a shape to white noise.

    Returns
    -------
    (Tensor, Tensor), each of shape (T + 1, ...)

    Notes
    -----
    Source: PX-2; PX-10, Fig. 8 to 10 (DDPM's).
    """
    bars = VPLinear().alpha(torch.arange(steps + 1, dtype=torch.float64) / steps).square()
    there, drawn = [x0], []
    for alpha in bars[1:] / bars[:-1]:
        drawn.append(noise(tuple(x0.shape)).to(x0))
        there.append(alpha.sqrt() * there[-1] + (1 - alpha).sqrt() * drawn[-1])
    back = [there[-1]]
    for alpha, z in zip((bars[1:] / bars[:-1]).flip(0), drawn[::-1], strict=True):
        back.append((back[-1] - (1 - alpha).sqrt() * z) / alpha.sqrt())
    return torch.stack(there), torch.stack(back[::-1])


def close_up(ways: Mapping[str, Tensor], count: int = 11) -> dict[str, Tensor]:
    """The first image of trajectories in the first and in the last fifth of all steps, as rows of pictures.

    Parameters
    ----------
    ways : mapping of str to Tensor, shape (T + 1, N, C, H, W)
    count : int
        Pictures of a fifth.

    Returns
    -------
    dict of str to Tensor, shape (count, C, H, W)

    Notes
    -----
    Source: PX-10, Fig. 9 and 10 (the first fifth).
    """
    steps = len(next(iter(ways.values()))) - 1
    first = [round(steps * k / (5 * (count - 1))) for k in range(count)]
    fifths = {"first": first, "last": [steps - j for j in reversed(first)]}
    return {
        f"{name} fifth,\n{way}": torch.cat([on_grey(states[j][:1], j / steps) for j in places])
        for name, places in fifths.items()
        for way, states in ways.items()
    }


def asked_again(
    x0: Tensor, path: Trajectory, gamma: float, times: Sequence[int], error: float = 0.1, seed: int = 0
) -> list[tuple[str, int, float]]:
    """Algorithm 1 and asking again where all that is told of a noise is wrong by so much.

    A stand-in for a network knows the noise that it is shown up to that error and reads the image from it by Eq. 9.

    Parameters
    ----------
    x0 : Tensor
        Images.
    path : fewsteps.samplers.parallel.Path
        Their trajectory.
    gamma : float
    times : sequence of int
        How often the stand-in is asked.
    error : float
        Standard deviation.
    seed : int
        Of new noise; that of the errors is the next.

    Returns
    -------
    list of (str, int, float)
        The way, its network calls and the root mean square error of its images.

    Notes
    -----
    Source: PX-8.
    """
    white, wrong = (samplers.white_noise(seed + k, dtype=x0.dtype) for k in (0, 1))
    steps = len(path.increments)

    def asked(n: int) -> Step:
        images, held = [x0], [path.marginals[-1]]

        def noise(shape: tuple[int, ...]) -> Tensor:
            held.append(white(shape))
            return held[-1]

        def predict(x: Tensor, t: float) -> Tensor:
            made = PixelAware(images[-1], gamma)
            z = held[-1] + error * wrong(tuple(x.shape))
            images.append(((x - made.sigma(t) * z) / made.alpha(t)).clamp(PIXEL_MIN, 1))
            return images[-1]

        grid = pixel_aware.grid(n, steps)
        *_, end = samplers.renoised(predict, path.states[-1], grid, gamma=gamma, noise=noise, calls=2)
        return end

    noises = path.increments + error * wrong(tuple(path.increments.shape))
    back = samplers.reverse_path(path.states[-1], image_scale(x0, gamma), noises, factor="printed")[0]
    found = [("Algorithm 1", 2, _rms(back - x0)), ("the same, cut to [0, 1]", 2, _rms(back.clamp(0, 1) - x0))]
    for n in times:
        end = asked(n)
        found.append((f"asked {n} times", end.nfe, _rms(end.x - x0)))
    return found


def weight_of_scale(reverse: Reverse, i: int) -> list[float]:
    """The share that the scale has in the combined image, by `BINS` of brightness, the darkest first.

    Parameters
    ----------
    reverse : Reverse
        A parallel network whose errors are known (:func:`calibrate`).
    i : int
        The step of the state.

    Notes
    -----
    Source: PX-8 (all estimates, weighted).
    """
    precision = 1 / pixel_aware.shared(reverse.variances[i])
    return (precision[0] / precision.sum(0)).tolist()


def regression(known: Tensor, gamma: float, steps: int, i: int, reading: str = "marginal") -> tuple[Tensor, Tensor]:
    """The linear regression of every noise on the state, pixel by pixel, exactly over the training images.

    Over the noise the moments are known, so nothing is drawn: the covariance of Z^j and x_i is the mean over images of
    the share of eps~_i in Z^j times its spread.

    Parameters
    ----------
    known : Tensor, shape (N, C, H, W)
    gamma : float
    steps, i : int
    reading : {"increment", "marginal", "last"}

    Returns
    -------
    (Tensor, Tensor)
        Slopes (i, C, H, W), and the mean of the state (C, H, W), by which the prediction is slope * (x - mean).

    Notes
    -----
    Source: PX-6 (the baseline of its claim).
    """
    covariance = torch.zeros(i, *known.shape[1:], dtype=torch.float64)
    first, second = torch.zeros(2, *known.shape[1:], dtype=torch.float64)
    for part in known.split(500):
        x0 = part.double().clamp(PIXEL_MIN, 1)
        rate = -gamma * x0 / steps
        spread, signal = (-torch.expm1(i * rate)).sqrt(), (i * rate / 2).exp() * x0
        first += signal.sum(0)
        second += (signal.square() + spread.square()).sum(0)
        for j in range(1, i + 1):
            covariance[j - 1] += (noise_share(rate, i, j, reading) * spread).sum(0)
    mean = first / len(known)
    return covariance / len(known) / (second / len(known) - mean.square()), mean


def noise_errors(
    parallel: Reverse, single: Reverse | None, known: Tensor, unseen: Tensor, i: int, seed: int = 0
) -> dict[str, list[float]]:
    """Mean squared error of predicted noise by step j, on trajectories of test images.

    Parameters
    ----------
    parallel : Reverse
        The parallel network.
    single : Reverse or None
        The single head.
    known, unseen : Tensor, shape (N, C, H, W)
        Training images for the regression, and test images.
    i, seed : int
        The step of the state; and of the trajectories' noise.

    Returns
    -------
    dict of str to list of float
        "network"; "last", its noise of step i alone, of which all others are the share that its scale says;
        "regression", "single" and "oracle": the one who knows the image, whose error nobody is below.

    Notes
    -----
    Source: PX-6, Eq. 15.
    """
    gamma, steps = parallel.gamma, parallel.steps
    slopes, mean = regression(known, gamma, steps, i)
    slopes, mean = slopes.float(), mean.float()
    noise = samplers.white_noise(seed)
    total: dict[str, Tensor] = {}
    for part in unseen.split(BATCH):
        x0 = part.clamp(PIXEL_MIN, 1)
        path = samplers.forward_path(x0, gamma, steps, noise)
        x, wanted = path.states[i], path.marginals[:i]
        scale, own = parallel.noises(x, i)
        rate = -gamma * samplers.scale_image(scale, gamma) / steps
        shares = [noise_share(rate, i, j, "marginal") for j in range(1, i + 1)]
        said = {"network": own, "last": torch.stack(shares) * own[-1]}
        said["oracle"] = samplers.noises_of(x, x0, gamma, i, steps)
        said["regression"] = slopes[:, None] * (x - mean)
        if single is not None:
            said["single"] = single.noises(x, i)[1]
        for who, z in said.items():
            total[who] = total.get(who, torch.zeros(i)) + (z - wanted).square().flatten(2).mean(2).sum(1)
    return {who: (value / len(unseen)).tolist() for who, value in total.items()}


def noise_ratio(found: Mapping[str, Sequence[float]], who: str = "network") -> float:
    """Error above that of one who knows the image, over the regression's, mean over the steps: 0 is perfect."""
    above = {name: [a - b for a, b in zip(found[name], found["oracle"], strict=True)] for name in (who, "regression")}
    return sum(above[who]) / sum(above["regression"])


def calibrate(reverse: Reverse, known: Tensor, at: Sequence[int] = ()) -> Reverse:
    """The same network, with the errors of every estimate of the image known by brightness.

    Parameters
    ----------
    reverse : Reverse
        A parallel network.
    known : Tensor, shape (N, C, H, W)
        Training images: `CALIBRATION` of them are used.
    at : sequence of int
        Steps i; default those of every form.

    Notes
    -----
    States are made from images here, and in use they come from a fitted law or from the network's own images; errors
    there are larger. A network is judged on other images and seeds.

    Source: PX-8.
    """
    mixed = [f for f in pixel_aware.FORMS.values() if f.network == "parallel" and 0 < f.predictions <= reverse.steps]
    places = set(at) or {i for form in mixed for i in form.times(reverse.steps)}
    # The first state of a form has every pixel's own schedule, whatever those after it have.
    again = set(at) or {i for form in mixed if form.common for i in form.times(reverse.steps)[1:]}
    chosen = torch.randperm(len(known), generator=torch.Generator().manual_seed(1))[:CALIBRATION]
    x0 = known[chosen].clamp(PIXEL_MIN, 1)
    return replace(
        reverse,
        variances={i: _errors_by_brightness(reverse, x0, i, common=False) for i in sorted(places)},
        common={i: _errors_by_brightness(reverse, x0, i, common=True) for i in sorted(again)},
    )


def _errors_by_brightness(reverse: Reverse, x0: Tensor, i: int, *, common: bool) -> Tensor:
    """Mean squared errors of all estimates of the image at one step, (1 + i, BINS)."""
    sums, counts = torch.zeros(1 + i, BINS, dtype=torch.float64), torch.zeros(BINS, dtype=torch.float64)
    shared = brightness(x0) if common else None
    x = states(x0, reverse.gamma, i / reverse.steps, CALIBRATION_SEED, shared)
    parts = [None] * len(x0) if shared is None else shared.split(BATCH)
    for some, clean, by in zip(x.split(BATCH), x0.split(BATCH), parts, strict=False):
        found = reverse.found(some, i, by)
        place = (found[0] * BINS).long().clamp(0, BINS - 1).flatten()
        errors = (found - clean).square().flatten(1).double().clamp_max(1e12)
        inside = functional.one_hot(place, BINS).double()
        sums += errors @ inside
        counts += inside.sum(0)
    # For a brightness that never came up, what an estimate's errors are over all of them.
    table = torch.where(counts > 0, sums / counts.clamp_min(1), sums.sum(1, keepdim=True) / counts.sum())
    return table.clamp_min(1e-12)


def laws(estimator: Estimator, known: Tensor, *, components: int = 10, seed: int = 3) -> dict[str, Law]:
    """Laws of x_T fitted to training images.

    Parameters
    ----------
    estimator : Estimator
    known : Tensor, shape (N, C, H, W)
    components : int
        Of the mixture over vectors; that over pixels has 6 times as many.
    seed : int
        Of the noise of x_T.

    Notes
    -----
    Source: PX-4, PX-8.
    """
    x = torch.cat([states(part, estimator.gamma, 1.0, seed + k) for k, part in enumerate(known.split(2000))])
    return {
        "pixels": starts.fit_pixels(x, 6 * components),
        "latent": starts.fit_vectors(estimator.vectors(x, estimator.steps), components),
    }


def algorithm_errors(x0: Tensor, gamma: float, steps: int, sizes: Sequence[float]) -> list[dict[str, Any]]:
    """Algorithm 1 with the true scale and the true noises, to which errors of known size are added.

    Parameters
    ----------
    x0 : Tensor
        Images.
    gamma : float
    steps : int
    sizes : sequence of float
        Standard deviations of the errors; 0 is the toy of Appendix B.

    Returns
    -------
    list of dict
        ``reading`` (with "mean", the means of the noises of all states that x_T and the image leave, which is what
        Eq. 15 trains), ``factor``, ``fresh``, ``size``, ``rmse`` of the image, ``finite``, the share of its pixels that
        are, and ``amplification``, exp(gamma x0 / 2) at its largest.

    Notes
    -----
    Source: PX-8; PX-10, Appendix B.
    """
    x0 = x0.double().clamp(PIXEL_MIN, 1)
    noise = samplers.white_noise(0, dtype=torch.float64)
    path, scale = samplers.forward_path(x0, gamma, steps, noise), image_scale(x0, gamma)
    rows = []
    for reading in ("increment", "marginal", "mean", "last"):
        if reading == "mean":
            targets = samplers.noises_of(path.states[-1], x0, gamma, steps, steps)
        else:
            targets = path.targets(reading)
        errors = samplers.white_noise(1, dtype=torch.float64)(tuple(targets.shape))
        for factor in ("printed", "posterior", "ddim"):
            for fresh in (False, True):
                for size in sizes:
                    back = samplers.reverse_path(
                        path.states[-1],
                        scale,
                        targets + size * errors,
                        factor=factor,
                        noise=samplers.white_noise(2, dtype=torch.float64) if fresh else None,
                    )[0]
                    rows.append(
                        {
                            "reading": reading,
                            "factor": factor,
                            "fresh": fresh,
                            "size": size,
                            "rmse": _rms(back - x0),
                            "finite": float(back.isfinite().double().mean()),
                            "amplification": float((gamma * x0.max() / 2).exp()),
                        }
                    )
    return rows


def distance(images: Tensor, source: Mapping[str, Any]) -> dict[str, Any]:
    """Fréchet distance to the training images in the features of their classifier, with its interval and floor.

    Parameters
    ----------
    images : Tensor, shape (N, C, H, W)
        What is outside [0, 1] is cut, infinities too; what is no number becomes black.
    source : mapping
        ``name`` and ``size`` of the data set.

    Notes
    -----
    Source: PX-9.
    """
    name = references.networks_for(source["name"], source["size"])[0]
    extractor = references.feature_network(name)
    reference = references.read(source["name"], source["size"], name)
    # In half precision, as the references keep them.
    features = metrics.features(extractor, images.clamp(0, 1).nan_to_num(0)).half().float()
    found = metrics.frechet_interval(features, reference.train, generator=torch.Generator().manual_seed(0), draws=100)
    real = reference.test_features[: len(images)]
    return {
        "metric": extractor.distance_name,
        "value": found.value,
        "low": min(found.low, found.value),
        "high": max(found.high, found.value),
        "floor": metrics.frechet(metrics.Moments.of(real), reference.train),
        "count": len(images),
    }


def squares(source: Mapping[str, Any], count: int, sides: Sequence[int] = (2, 4, 8, 16)) -> list[dict[str, Any]]:
    """Distances of real test images of which only the means of squares are left: what a distance means to the eye.

    Parameters
    ----------
    source : mapping
        As for :func:`distance`.
    count : int
        Of images.
    sides : sequence of int
        Of the squares, in pixels; those that do not divide the images' own are left out.

    Returns
    -------
    list of dict
        ``side``, and what :func:`distance` says.

    Notes
    -----
    Source: PX-8, PX-9 (a yardstick of this project's).
    """
    _, unseen = pixels_of(source["name"], source["size"])
    rows = []
    for side in (side for side in sides if source["size"] % side == 0):
        means = functional.avg_pool2d(unseen[:count], side)
        seen = functional.interpolate(means, scale_factor=side, mode="nearest")
        rows.append({"side": side, **distance(seen, source)})
    return rows


def powers(made: Mapping[str, Tensor], data: str) -> dict[str, tuple[float, ...]]:
    """What images of several ways have of the power of real ones, in thirds of all frequencies, the lowest first.

    Parameters
    ----------
    made : mapping of str to Tensor, shape (N, C, H, W)
        In [0, 1].
    data : str
        Whose images are the real ones, as in "mnist".

    Returns
    -------
    dict of str to tuple of float
        Means over the rings of a third; 1 is as much as real images have.

    Notes
    -----
    Source: PX-8 (what a distance of features does not see).
    """
    source = checkpoints.card(data)["data"]
    real = spectra.radial_mean(pixels.read(source["name"], source["size"]).power("dct"), "dct").power[1:]
    found = {}
    for way, images in made.items():
        ratio = torch.as_tensor(spectra.radial_power(images.double()))[1:] / real
        found[way] = tuple(float(part.mean()) for part in ratio.tensor_split(3))
    return found


def nearness(images: Tensor, known: Tensor) -> Tensor:
    """Distance of every image to the nearest of those that are known, root mean square over pixels, (N,).

    Parameters
    ----------
    images, known : Tensor, shapes (N, C, H, W) and (M, C, H, W)
        What is outside [0, 1] in `images` is cut.
    """
    return metrics.nearest(images.clamp(0, 1).flatten(1), known.flatten(1)).distance[:, 0] / known[0].numel() ** 0.5


def nearness_of_test(unseen: Tensor, known: Tensor, count: int) -> Tensor:
    """:func:`nearness` of so many test images, drawn: MNIST's first are farther off than the others."""
    some = unseen[torch.randperm(len(unseen), generator=torch.Generator().manual_seed(2))[:count]]
    return nearness(some, known)


def copies(images: Tensor, known: Tensor, test: Tensor) -> dict[str, Any]:
    """How near samples are to training images, and as many test images beside them.

    Parameters
    ----------
    images, known : Tensor, shapes (N, C, H, W) and (M, C, H, W)
        Samples, and training images.
    test : Tensor, shape (N,)
        How near test images are, by :func:`nearness_of_test`: the same for all samples, so worked out once.

    Returns
    -------
    dict
        ``samples`` and ``test``: the distance to the nearest training image at the 1 %, 10 % and 50 % point; and
        ``nearer``, the share of samples nearer than the nearest hundredth of test images.

    Notes
    -----
    Source: PX-9 (no copies).
    """
    samples, points = nearness(images, known), torch.tensor([0.01, 0.1, 0.5])
    said: dict[str, Any] = {
        who: value.float().quantile(points).tolist() for who, value in (("samples", samples), ("test", test))
    }
    return said | {"nearer": float((samples < said["test"][0]).double().mean())}


def seconds(make: Any, count: int) -> tuple[Any, float]:
    """What a call returns, and its seconds per image."""
    begin = time.perf_counter()
    made = make()
    return made, (time.perf_counter() - begin) / count


def times(ways: Mapping[str, tuple[Callable[[], object], int]], rounds: int = 3) -> dict[str, float]:
    """Seconds per image of several ways, in turn and over again in one process: the least of the rounds of each.

    Parameters
    ----------
    ways : mapping of name to (callable, int)
        What makes images, and how many.
    rounds : int

    Notes
    -----
    Source: PX-9.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (make, count) in ways.items():
            taken[name].append(seconds(make, count)[1])
    return {name: min(every) for name, every in taken.items()}


@lru_cache(maxsize=1)
def pixels_of(dataset: str, size: int) -> tuple[Tensor, Tensor]:
    """Training and test images."""
    from fewsteps import data

    return data.load(dataset, "train", size).images, data.load(dataset, "test", size).images


def trained_on(card: Mapping[str, Any]) -> Tensor:
    """The images that a network was trained on, and where training mirrored them their mirror images as well.

    Parameters
    ----------
    card : mapping
        Of its checkpoint.

    Notes
    -----
    Source: PX-9 (no copies).
    """
    known, _ = pixels_of(card["data"]["name"], card["data"]["size"])
    mirrored = card["training"]["recipe"].get("flip", False)
    return torch.cat((known, known.flip(-1))) if mirrored else known


def _rms(value: Tensor) -> float:
    return float(value.double().square().mean().sqrt())

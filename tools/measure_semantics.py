"""Measure what the inputs of denoising diffusion GANs mean, into ``data/results/semantics.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_semantics.py [DATA] [--folder DIR] [--out FILE]

For every checkpoint of that kind and that data set (default: fashion_mnist): how smooth interpolation is in each input,
between 100 pairs of test images where there is an encoder; how much of the variance of a classifier's features each
input explains, with three seeds; how well a linear classifier finds every class among the semantic vectors, and what
moving along its direction does; the Fréchet distance with the prior and with Gaussian vectors, its interval from three
seeds, inception score, precision and recall, and how many images lie nearer to a training image than test images do;
and seconds per 100 images, of generator and prior apart. Beside them, and without any such checkpoint alone, pixels
that are blended, the x_T of a 50-step DDIM, and the seconds of one call of a denoiser. What was measured of the same
weights is kept, but the seconds, and so is every other row: a run that was stopped goes on. The result holds no image,
but the semantic vectors of a few test images.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fewsteps import checkpoints, data, results, samplers, trained
from fewsteps.errors import DataError
from fewsteps.experiments import adversarial, boards, evaluation, gates, pixel_measures, semantics
from fewsteps.experiments.adversarial import KINDS, POSTERIOR
from fewsteps.experiments.sampling import Drawn, Plan
from fewsteps.experiments.semantic_tables import RIVALS, SCORES
from fewsteps.files import read_json
from fewsteps.networks import Classifier
from fewsteps.trained import Trained
from fewsteps.widgets.semantic import COUNT

RESULT = results.FOLDER / "semantics.json"
PAIRS, STEPS = 100, 11
JUDGED = 2000  # vectors of test images for the linear classifiers, half to learn from
TIMED = 100
IMAGES = gates.COUNT  # of every seed, whose distance is measured
SEEDS = (0, 1, 2)
DENOISERS = {"fashion_mnist": "fashion", "digits": "digits", "cifar10": "cifar10"}


def of_ways(model: Trained, first: Tensor, second: Tensor, classifier: Classifier) -> dict[str, Any]:
    """Smoothness in every input; between the same images, where the model can see any."""
    noises = [samplers.white_noise(seed) for seed in (0, 1)]
    if model.generator.encoder is None:
        a, b = (adversarial.drawn(model, len(first), noise) for noise in noises)
    else:
        a, b = (adversarial.seen(model, x, noise) for x, noise in zip((first, second), noises, strict=True))
    # Told its vector at every step, a generator looks at no z.
    unused = {"z_T"} if a.z_T is None else {"z"} if model.card["predicts"]["semantic"] == "every" else set()
    said = {}
    for kind in (*KINDS, POSTERIOR):
        if kind not in unused:
            ways = semantics.interpolation(model, semantics.between(a, b, kind, STEPS))
            said[kind] = described(semantics.smoothness(ways, classifier))
    return said


def described(smooth: semantics.Smoothness) -> dict[str, Any]:
    """Its numbers, null where there is none."""
    return {key: None if value != value else value for key, value in asdict(smooth).items()}


def of_directions(model: Trained, images: Tensor, labels: Tensor, classifier: Classifier) -> list[dict[str, Any]]:
    """Every class as an attribute: accuracy of the linear classifier, how far the means are apart in units of the
    typical length of a vector, and the class's probability before edits and after them, near and far along the normal
    of the classifier, and far along the difference of the means.
    """
    encoder = model.encoder
    z_sem = torch.cat([encoder(2 * part - 1) for part in images.split(256)])
    vectors, said = encoder.normalise(z_sem), []
    inputs = adversarial.seen(model, images[-PAIRS:], samplers.white_noise(0))
    for k in range(int(labels.max()) + 1):
        found = semantics.direction(vectors[:JUDGED], labels[:JUDGED] == k)
        without = labels[-PAIRS:] != k

        def chance(vector: Tensor, reach: float, k: int = k, without: Tensor = without) -> float:
            moved = inputs.given("z_T", semantics.edited(model, inputs.value("z_T"), vector, reach))
            return float(classifier(adversarial.generate(model, moved)).softmax(1)[without, k].mean())

        chances = {
            "before": chance(found.vector, 0.0),
            "after": chance(found.vector, semantics.REACH),
            "far": chance(found.vector, semantics.FAR),
            "between": chance(found.between, semantics.FAR),
        }
        # What an edit by 1 adds to z_T, so that a page needs no moments: z = centre + spread * normalised.
        moves = encoder.spread * found.between * encoder.latent**0.5
        said.append(
            {"class": k, "accuracy": found.accuracy, "gap": found.gap / encoder.latent**0.5, **chances}
            | {"moves": [float(f"{value:.5g}") for value in moves.tolist()]}
        )
    return said


def seconds_per_100(make: Callable[[], object], runs: int = 5) -> float:
    """The median of a few runs."""
    taken = []
    for _ in range(runs + 1):
        begin = time.perf_counter()
        make()
        taken.append(time.perf_counter() - begin)
    return sorted(taken[1:])[runs // 2] * 100 / TIMED


def of_time(model: Trained) -> dict[str, Any]:
    """Of the generator's steps, and of both ways to a semantic vector."""
    inputs = adversarial.drawn(model, TIMED, samplers.white_noise(0))
    said = {"generator": seconds_per_100(lambda: adversarial.generate(model, inputs))}
    if model.generator.encoder is not None:
        noise = samplers.white_noise(0)
        said["gaussian"] = seconds_per_100(lambda: adversarial.semantic_vectors(model, TIMED, noise))
        if model.prior is not None:
            said["prior"] = seconds_per_100(
                lambda: adversarial.semantic_vectors(model, TIMED, noise, calls=gates.PRIOR_CALLS)
            )
    return {"seconds": said, "threads": torch.get_num_threads()}


def distance(made: list[Tensor], model: Trained, calls: int, folder: Path) -> dict[str, Any]:
    """Fréchet distance to the training images, the mean over seeds with its 95 % interval, and scores beside it."""
    plan = Plan(model.name, "ddgan", model.steps.steps + calls, count=len(made[0]))
    judge = RIVALS[model.card["data"]["name"]].judge
    found = []
    for seed, images in zip(SEEDS, made, strict=True):
        rows = evaluation.evaluate(plan, [Drawn(images, None, plan.nfe)], [seed], folder=folder)["rows"]
        found.append({row["metric"]: row for row in rows if row["extractor"] == judge})
    fd = boards.pooled(model.name, plan.nfe, plan.nfe, [rows[f"FD-{judge}"] for rows in found])
    scores = {
        called: sum(rows[metric.format(judge=judge)]["value"] for rows in found) / len(found)
        for called, metric in SCORES.items()
    }
    about = {"floor": fd.floor, "images": fd.count, "seeds": fd.seeds}
    return {"value": fd.value, "low": fd.low, "high": fd.high, **about, "scores": scores}


def of_call(name: str) -> list[dict[str, Any]]:
    """Seconds that one call of the denoiser takes whose distances stand beside, for 100 images."""
    rival = RIVALS.get(name)
    if rival is None or rival.checkpoint not in checkpoints.names():
        return []
    model = trained.load(rival.checkpoint)
    x = samplers.white_noise(0)((TIMED, *model.shape))
    taken = seconds_per_100(lambda: model.network(x, x.new_zeros(TIMED)))
    return [{"data": name, "checkpoint": rival.checkpoint, "seconds": taken, "threads": torch.get_num_threads()}]


def of_network(
    model: Trained, source: dict[str, Any], test: data.Images, classifier: Classifier, folder: Path
) -> dict[str, Any]:
    """All but the seconds."""
    images, labels = semantics.in_order_of_judges(test)
    if labels is None:
        raise DataError(f"{source['name']} has no classes: semantics are measured on sets that have.")
    noise = samplers.white_noise(0)
    semantic = model.generator.encoder is not None
    said: dict[str, Any] = {
        "data": source["name"],
        "checkpoint": model.name,
        **sums(model),
        "trained_images": model.card["training"]["images"],
        "steps": model.steps.steps,
        "ways": of_ways(model, images[:PAIRS], images[PAIRS : 2 * PAIRS], classifier),
        "distance": {},
    }
    kinds = {"gaussian": 0} | ({"prior": gates.PRIOR_CALLS} if model.prior is not None else {})
    kinds = kinds if semantic else {"noise": 0}
    best, known = max(kinds.values()), pixel_measures.trained_on(model.card)
    each = [semantics.explained(model, classifier.features, samplers.white_noise(seed), calls=best) for seed in SEEDS]
    said["explained"] = {kind: [one[kind] for one in each] for kind in each[0]}
    beside = pixel_measures.nearness_of_test(test.images, known, IMAGES)
    for kind, calls in kinds.items():
        made = [
            adversarial.generate(model, adversarial.drawn(model, IMAGES, samplers.white_noise(seed), calls=calls))
            for seed in SEEDS
        ]
        near = pixel_measures.copies(made[0], known, beside)
        said["distance"][kind] = distance(made, model, calls, folder) | {"nearer": near["nearer"]}
    if semantic:
        back = adversarial.generate(model, adversarial.seen(model, images[:PAIRS], noise))
        said["seen again"] = float((back - images[:PAIRS]).abs().mean())
        said["directions"] = of_directions(model, images[: JUDGED + PAIRS], labels[: JUDGED + PAIRS], classifier)
        said["ends"] = [[float(f"{x:.5g}") for x in z] for z in model.encoder(2 * images[: 2 * COUNT] - 1).tolist()]
    return said


def denoiser_of(name: str) -> str | None:
    """The hash of the weights of a data set's shipped denoiser, if there is one."""
    denoiser = DENOISERS.get(name)
    return checkpoints.card(denoiser)["weights"]["sha256"] if denoiser in checkpoints.names() else None


def baselines(name: str, images: Tensor, classifier: Classifier) -> list[dict[str, Any]]:
    """Blended pixels, and DDIM's x_T."""
    first, second = images[:PAIRS], images[PAIRS : 2 * PAIRS]
    found = {"pixels": semantics.smoothness(semantics.pixels_between(first, second, STEPS), classifier)}
    denoiser = denoiser_of(name)
    if denoiser is not None:
        here, there = (samplers.white_noise(seed)(tuple(first.shape)) for seed in (0, 1))
        ways = semantics.ddim_between(trained.load(DENOISERS[name]), here, there, STEPS)
        found["DDIM, 50 steps"] = semantics.smoothness(ways, classifier)
    return [{"data": name, "denoiser": denoiser, "called": who, **described(smooth)} for who, smooth in found.items()]


def apart(before: dict[str, Any], key: str, name: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a result says of a data set, and what it says of others, which is kept as it stands."""
    entries = before.get(key, [])
    return [e for e in entries if e["data"] == name], [e for e in entries if e["data"] != name]


def sums(model: Trained | None) -> dict[str, str | None]:
    """The hashes of what a row was measured of; of a network that is nowhere, those of no row."""
    if model is None:
        return {"weights": None}
    prior = None if model.prior is None else model.prior.card["weights"]["sha256"]
    return {"weights": model.card["weights"]["sha256"], "prior": prior}


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default="fashion_mnist")
    parser.add_argument("--folder", type=Path, default=checkpoints.FOLDER)
    parser.add_argument("--out", type=Path, default=RESULT)
    chosen = parser.parse_args()
    torch.set_grad_enabled(False)
    cards = [checkpoints.card(name, chosen.folder) for name in checkpoints.names(chosen.folder)]
    cards = [card for card in cards if card["predicts"]["kind"] == "ddgan" and card["data"]["name"] == chosen.data]
    if not cards and denoiser_of(chosen.data) is None:
        print(f"no denoising diffusion GAN of {chosen.data} is there; fewsteps train makes one.", file=sys.stderr)
        return 2
    source = cards[0]["data"] if cards else checkpoints.card(DENOISERS[chosen.data])["data"]
    test = data.load(source["name"], "test", source["size"])
    classifier = trained.load(f"{DENOISERS[source['name']]}-classifier").network
    assert isinstance(classifier, Classifier)
    before = read_json(chosen.out)
    measured, rows = apart(before, "rows", source["name"])
    own, beside = apart(before, "baselines", source["name"])
    if not own or own[0]["denoiser"] != denoiser_of(source["name"]):
        own = baselines(source["name"], semantics.in_order_of_judges(test)[0][: 2 * PAIRS], classifier)
    beside += own
    calls = apart(before, "calls", source["name"])[1]
    models = {card["name"]: trained.load(card["name"], chosen.folder) for card in cards}
    # What stands: rows of these weights, and of networks that are in another folder.
    elsewhere = set(checkpoints.names()) - set(models)
    known = {
        row["checkpoint"]: row
        for row in measured
        if row["checkpoint"] in elsewhere or sums(models.get(row["checkpoint"])).items() <= row.items()
    }

    def keep() -> None:
        every = [*rows, *known.values()]
        about = sorted({entry["data"] for entry in (*every, *beside)})
        commands = "; ".join(f"python tools/measure_semantics.py {each}" for each in about)
        results.write(chosen.out, commands, every, pairs=PAIRS, baselines=beside, calls=calls)

    for name, model in models.items():
        if name not in known:
            known[name] = of_network(model, source, test, classifier, chosen.folder) | of_time(model)
            print(json.dumps(known[name] | {"directions": None, "ends": None}), flush=True)
            keep()
    # All times of one run, one after the other, or they could not be compared.
    calls += of_call(source["name"])
    for name, model in models.items():
        known[name] |= of_time(model)
    keep()
    return 0


if __name__ == "__main__":
    sys.exit(main())

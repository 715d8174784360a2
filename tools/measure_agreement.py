"""Do feature networks rank samplers alike? Writes ``data/results/feature_agreement.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_agreement.py [NETWORK ...]

The same samples, from good to bad, are measured in the features of several networks: those shipped here and published
ones that are not, of colour images and of garments. Beside the samplers of ``fashion`` stand the denoising diffusion
GANs of chapter 10 and real test images. Networks that are not named keep the rows that they have.
"""

from __future__ import annotations

import json
import sys
from itertools import chain

import torch
from torch import Tensor

from fewsteps import checkpoints, data, metrics, results
from fewsteps.experiments import references
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.files import write_atomic
from fewsteps.metrics import Moments
from mobilenet import mobilenet
from resnet56 import resnet56

RESULT = results.FOLDER / "feature_agreement.json"
COUNT, REAL = 512, 5000
REAL_ONES = "test images"
PLANS = (
    ("dpmpp_2m", 4), ("dpmpp_2m", 6), ("dpmpp_2m", 10), ("dpmpp_2m", 25),
    ("ddim", 10), ("ddim", 25), ("ancestral", 10), ("ancestral", 25), ("reverse", 25), ("pc", 30), ("heun", 15),
)  # fmt: skip
CORRECTED = (("ancestral", 10), ("ancestral", 25))  # with their predictions put right as well, in colour
GANS = {
    "fashion": (("ddgan", 2, "fashion-ddgan2-long"), ("ddgan", 22, "fashion-progddgan-long"), ("ddim", 50, "fashion"))
}
"""For chapter 10: its generators and what they are judged against, beside the samplers; calls of priors counted."""
SECOND = {"mnist-classifier": "fashion-classifier", "fashion-classifier": "mnist-classifier"}


def drawn(plan: Plan) -> tuple[dict, Tensor]:
    """What a row says of a plan, and its images."""
    made = sample(plan)
    about = {"checkpoint": plan.checkpoint, "sampler": plan.sampler, "prediction": plan.prediction, "nfe": made.nfe}
    return about, made.images


def real_ones(name: str) -> list[tuple[dict, Tensor]]:
    """Test images, which show how far a judge sees as many real ones."""
    if name not in GANS:
        return []
    source = checkpoints.card(name)["data"]
    return [({"sampler": REAL_ONES, "nfe": 0}, data.load(source["name"], "test", source["size"]).images[:COUNT])]


def measure(name: str) -> list[dict]:
    """Fréchet distances of every plan in every feature network."""
    source = checkpoints.card(name)["data"]
    extractors = [
        references.feature_network(known) for known in references.networks_for(source["name"], source["size"])
    ]
    if source["name"] == "cifar10":
        extractors.append(resnet56())
    else:
        extractors.append(references.feature_network(SECOND[extractors[0].name]))
    if name in GANS:  # whose losses look through a network of the same classes as the first judge's
        extractors.append(mobilenet())
    real = data.load(source["name"], "train", source["size"]).images[:REAL]
    known = {extractor.name: Moments.of(metrics.features(extractor, real)) for extractor in extractors}
    plans = [Plan(name, sampler=sampler, nfe=nfe, count=COUNT) for sampler, nfe in PLANS]
    if source["name"] == "cifar10":
        plans += [Plan(name, sampler=s, nfe=nfe, count=COUNT, prediction="by frequency") for s, nfe in CORRECTED]
    shipped = [gan for gan in GANS.get(name, ()) if gan[2] in checkpoints.names()]
    plans += [Plan(checkpoint, sampler, nfe, count=COUNT) for sampler, nfe, checkpoint in shipped]
    rows = []
    for about, images in chain(map(drawn, plans), real_ones(name)):
        for extractor in extractors:
            value = metrics.frechet(Moments.of(metrics.features(extractor, images)), known[extractor.name])
            rows.append(
                {"network": name, **about, "count": COUNT, "real": REAL}
                | {"extractor": extractor.name, "distance": float(f"{value:.5g}")}
            )
            print(*about.values(), extractor.name, f"{value:.3f}", flush=True)
    return rows


def main(names: list[str]) -> int:
    """Measure."""
    torch.set_grad_enabled(False)
    rows = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    for name in names or ("mnist", "fashion", "cifar10"):
        rows = [row for row in rows if row["network"] != name] + measure(name)
    agreement = []
    for name in dict.fromkeys(row["network"] for row in rows):
        found: dict[str, list[float]] = {}
        for row in rows:
            if row["network"] == name and row["sampler"] != REAL_ONES:
                found.setdefault(row["extractor"], []).append(row["distance"])
        (first, a), *others = found.items()
        for second, b in others:
            said = metrics.rank_agreement(a, b)
            agreement.append(
                {"network": name, "first": first, "second": second, "plans": len(a)}
                | {"spearman": round(said.spearman, 4), "kendall": round(said.kendall, 4)}
            )
    table = {"made_by": "python tools/measure_agreement.py", "agreement": agreement, "rows": rows}
    write_atomic(RESULT, json.dumps(table, indent=1) + "\n")
    print(json.dumps(agreement, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

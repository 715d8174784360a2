"""Do feature networks rank samplers alike? Writes ``data/results/feature_agreement.json``.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_agreement.py [NETWORK ...]

The same samples, from good to bad, are measured in the features of several networks: those shipped here and, for
colour images, published ones that are not. Networks that are not named keep the rows that they have.
"""

from __future__ import annotations

import json
import sys

import torch

from fewsteps import checkpoints, data, metrics, results
from fewsteps.experiments import references
from fewsteps.experiments.sampling import Plan, sample
from fewsteps.files import write_atomic
from fewsteps.metrics import Moments
from resnet56 import resnet56

RESULT = results.FOLDER / "feature_agreement.json"
COUNT, REAL = 512, 5000
PLANS = (
    ("dpmpp_2m", 4), ("dpmpp_2m", 6), ("dpmpp_2m", 10), ("dpmpp_2m", 25),
    ("ddim", 10), ("ddim", 25), ("ancestral", 10), ("ancestral", 25), ("reverse", 25), ("pc", 30), ("heun", 15),
)  # fmt: skip
CORRECTED = (("ancestral", 10), ("ancestral", 25))  # with their predictions put right as well, in colour
SECOND = {"mnist-classifier": "fashion-classifier", "fashion-classifier": "mnist-classifier"}


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
    real = data.load(source["name"], "train", source["size"]).images[:REAL]
    known = {extractor.name: Moments.of(metrics.features(extractor, real)) for extractor in extractors}
    plans = [Plan(name, sampler=sampler, nfe=nfe, count=COUNT) for sampler, nfe in PLANS]
    if source["name"] == "cifar10":
        plans += [Plan(name, sampler=s, nfe=nfe, count=COUNT, prediction="by frequency") for s, nfe in CORRECTED]
    rows = []
    for plan in plans:
        drawn = sample(plan)
        for extractor in extractors:
            value = metrics.frechet(Moments.of(metrics.features(extractor, drawn.images)), known[extractor.name])
            rows.append(
                {"network": name, "sampler": plan.sampler, "prediction": plan.prediction}
                | {"nfe": drawn.nfe, "count": COUNT, "real": REAL}
                | {"extractor": extractor.name, "distance": float(f"{value:.5g}")}
            )
            print(name, plan.sampler, plan.prediction, plan.nfe, extractor.name, f"{value:.3f}", flush=True)
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
            if row["network"] == name:
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

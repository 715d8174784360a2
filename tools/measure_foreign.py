"""Filters around the shipped pipeline of diffusers' make. Writes ``data/results/foreign_model.json``.

    python tools/measure_foreign.py [BUDGET ...]

Every way to sample at equal network calls, as chapter 12 prints it. Budgets that are not named keep their rows. Needs
MNIST's training images, by which the power is known that predictions should have.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import torch

from fewsteps import bridge, checkpoints, data, metrics, results
from fewsteps.experiments import foreign, onestep, pixels, prediction, references
from fewsteps.files import write_atomic

RESULT = results.FOLDER / "foreign_model.json"
WHERE = checkpoints.FOLDER.parent / "pipelines" / "mnist-ncsnpp"
BUDGETS, COUNT, SEEDS = (20, 100), 128, (0, 1, 2)


def main(budgets: list[int]) -> int:
    """Measure, a budget at a time."""
    torch.set_grad_enabled(False)
    found = bridge.pretrained(WHERE)
    size = found.shape[-1]
    power, known = pixels.read("mnist", size).power("dct"), references.read("mnist", size, "mnist-classifier")
    training = data.load("mnist", "train", size).images
    ideal = prediction.ideal_of(found.denoiser, training[onestep.some_of(len(training))].expand(-1, *found.shape))
    extractor = references.feature_network("mnist-classifier")
    rows = {row["nfe"]: row for row in results.read("foreign_model")["rows"]} if RESULT.exists() else {}
    for nfe in budgets or BUDGETS:
        said = foreign.compare(
            found.denoiser,
            found.shape,
            nfe,
            power,
            known.train,
            known.test,
            lambda images: metrics.features(extractor, images.mean(1, keepdim=True)),
            count=COUNT,
            seeds=SEEDS,
            ideal=ideal,
        )
        rows[nfe] = asdict(said)
        table = {"made_by": "python tools/measure_foreign.py", "rows": [rows[key] for key in sorted(rows)]}
        write_atomic(RESULT, json.dumps(table, ensure_ascii=False) + "\n")
        print(nfe, said.rule, said.searched, said.rows, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main([int(word) for word in sys.argv[1:]]))

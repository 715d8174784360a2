"""Write data/statistics: statistics of the real images, in the features of networks.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_statistics.py [NETWORK[@DATA-SIZE] ...]

Without arguments every shipped classifier measures its own data set, and CIFAR-10's also the faces, which have no
classes. ``inception-v3-compat@cifar10-32`` measures for a FID where Inception's weights are at hand.
``pixels@DATA-SIZE`` takes the means and spectra that filters are made from, ``onestep@NETWORK`` the errors of a network
in one step, and ``accuracy@NETWORK`` the accuracy of a classifier that is to judge nothing. What is written holds no
image.
"""

from __future__ import annotations

import sys

from fewsteps import checkpoints, trained
from fewsteps.experiments import onestep, pixels, references

BESIDES = {"cifar10-classifier": ("lfw-64",)}


def main(wanted: list[str]) -> int:
    """Measure."""
    cards = {name: checkpoints.card(name) for name in checkpoints.names()}
    known = [name for name, card in cards.items() if card["predicts"]["kind"] == "class" and "beside" not in card]
    if not wanted:
        wanted = [*known, *(f"{name}@{other}" for name in known for other in BESIDES.get(name, ()))]
    for entry in wanted:
        name, _, images = entry.partition("@")
        if name == "pixels":
            dataset, _, size = images.rpartition("-")
            print(pixels.save(pixels.measure(dataset, int(size))).name, flush=True)
            continue
        if name == "onestep":
            model = trained.load(images)
            told = onestep.measure(model, told=True) if model.classes else None
            print(onestep.save(model.card, onestep.measure(model), told).name, flush=True)
            continue
        alone = name == "accuracy"
        name, images = (images, "") if alone else (name, images)
        own = not images
        if own:
            source = checkpoints.card(name)["data"]
            images = f"{source['name']}-{source['size']}"
        dataset, _, size = images.rpartition("-")
        reference = references.build(dataset, int(size), references.feature_network(name))
        if alone:
            checkpoints.record(name, checkpoints.FOLDER, {"measured": {"accuracy": reference.said["accuracy"]}})
            print(f"{name}: {reference.said['accuracy']:.4f}", flush=True)
            continue
        path = references.save(reference)
        if own:
            checkpoints.record(name, checkpoints.FOLDER, {"measured": {"accuracy": reference.said["accuracy"]}})
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB, {reference.said.get('accuracy', '')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

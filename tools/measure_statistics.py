"""Write data/statistics: statistics of the real images, in the features of networks.

    FEWSTEPS_DATA=/path/to/copies python tools/measure_statistics.py [NETWORK[@DATA-SIZE] ...]

Without arguments every shipped classifier measures its own data set, and CIFAR-10's also the faces, which have no
classes. ``inception-v3-compat@cifar10-32`` measures for a FID where Inception's weights are at hand. What is written
holds no image.
"""

from __future__ import annotations

import sys

from fewsteps import checkpoints
from fewsteps.experiments import references

BESIDES = {"cifar10-classifier": ("lfw-64",)}


def main(wanted: list[str]) -> int:
    """Measure."""
    known = [name for name in checkpoints.names() if checkpoints.card(name)["predicts"]["kind"] == "class"]
    if not wanted:
        wanted = [*known, *(f"{name}@{other}" for name in known for other in BESIDES.get(name, ()))]
    for entry in wanted:
        name, _, images = entry.partition("@")
        own = not images
        if own:
            source = checkpoints.card(name)["data"]
            images = f"{source['name']}-{source['size']}"
        dataset, _, size = images.rpartition("-")
        reference = references.build(dataset, int(size), references.feature_network(name))
        path = references.save(reference)
        if own:
            checkpoints.record(name, checkpoints.FOLDER, {"measured": {"accuracy": reference.said["accuracy"]}})
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB, {reference.said.get('accuracy', '')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

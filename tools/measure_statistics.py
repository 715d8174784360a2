"""Write data/statistics: statistics of the real images, in the features of each classifier named (default: all).

FEWSTEPS_DATA must name the data sets; what is written holds no image.
"""

from __future__ import annotations

import sys

from fewsteps import checkpoints
from fewsteps.experiments import references


def main(names: list[str]) -> int:
    """Measure."""
    known = [name for name in checkpoints.names() if checkpoints.card(name)["predicts"]["kind"] == "class"]
    for name in names or known:
        source = checkpoints.card(name)["data"]
        extractor = references.feature_network(name)
        reference = references.build(source["name"], source["size"], extractor)
        path = references.save(reference)
        checkpoints.record(name, checkpoints.FOLDER, {"measured": {"accuracy": reference.said["accuracy"]}})
        print(f"{path.name}: {path.stat().st_size / 2**20:.1f} MiB", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Set up before any test module is imported."""

from __future__ import annotations

import sys

from hypothesis import settings
from jaxtyping import install_import_hook

# the hook rewrites modules while they are imported: it does nothing for those that are there already
assert "fewsteps" not in sys.modules, "something imported fewsteps before the shape checks were installed"
install_import_hook("fewsteps", "typechecker.check")

# the same examples on every machine, and no deadline on machines that are shared
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci")


def pytest_configure(config):
    """Let the coverage map judge the session."""
    from coverage_plugin import register  # imports fewsteps, so it has to come after the hook

    register(config)


# The longest files first; the last three wait for the pages that the first one builds, and so begin when those are
# about ready. All others in alphabetical order.
LONGEST = (
    "test_laboratories",
    "test_notebooks",
    "test_pixel_networks",
    "test_pipeline",
    "test_training",
    "test_cells",
    "test_export",
    "test_measure_pixel",
    "test_laboratory_pointer",
    "test_sampling_lab",
    "test_smoke_book",
)


def pytest_collection_modifyitems(items):
    """A long file that starts late ends alone, on one process; so tools/run_tests.sh keeps this order."""
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))  # stable: all else keeps its order


# imported after the hook, as they import fewsteps
pytest_plugins = ["book_fixtures"]

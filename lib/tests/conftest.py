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


def pytest_collection_modifyitems(items):
    """The longest files first: left to their place in the alphabet they start late, and one process ends alone."""
    longest = ("test_laboratories", "test_laboratory_pointer")
    items.sort(key=lambda item: item.path.stem not in longest)  # stable: all else keeps its order


# imported after the hook, as they import fewsteps
pytest_plugins = ["book_fixtures"]

"""The rooms of the library and the direction of their imports, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import fewsteps

PACKAGE = Path(__file__).resolve().parents[1] / "fewsteps"

# Known to every room and knowing none: errors, writing files whole, the ranges of parameters, the checks of shapes,
# constants on a device.
GROUND = {"allocator", "errors", "files", "memory", "parameters", "resident", "shapes"}

# Room -> every room it may import beyond the ground, all arrows followed to their end. `None`: anything.
ROOMS: dict[str, set[str] | None] = {
    "__init__": set(),
    "errors": set(),
    "files": set(),
    "allocator": set(),
    "memory": set(),
    "parameters": set(),
    "resident": set(),
    "shapes": set(),
    "transforms": set(),
    "spectra": {"transforms"},
    "wiener": {"transforms", "spectra"},
    "filters": {"transforms", "spectra"},
    "schedules": set(),
    "denoisers": {"schedules", "transforms", "spectra"},
    "samplers": {"denoisers", "schedules", "filters", "transforms", "spectra"},
    "theory": {"samplers", "denoisers", "schedules", "filters", "transforms", "spectra"},
    "networks": {"transforms"},
    "losses": {"denoisers", "schedules", "transforms", "spectra"},
    "checkpoints": set(),
    "data": set(),
    "training": {"losses", "networks", "checkpoints", "data", "denoisers", "schedules", "transforms", "spectra"},
    "metrics": {"transforms", "spectra"},
    "trained": {"networks", "checkpoints", "denoisers", "schedules", "transforms", "spectra"},
    "export": {"trained", "networks", "checkpoints", "denoisers", "schedules", "transforms", "spectra"},
    "experiments": {
        *("theory", "samplers", "denoisers", "schedules", "filters", "transforms", "spectra", "wiener"),
        *("training", "losses", "networks", "checkpoints", "trained", "data", "metrics", "figures", "results"),
    },
    "bridge": {"samplers", "denoisers", "schedules", "filters", "transforms", "spectra"},
    "results": set(),  # reads the tables in data/results
    "figures": set(),  # draws the tensors it is given
    "widgets": {
        *("theory", "samplers", "denoisers", "schedules", "filters", "transforms", "spectra", "wiener"),
        *("metrics", "data", "figures", "results", "checkpoints", "networks", "trained", "export"),
    },
    "book": set(),
    "cli": None,
    "__main__": None,
}

# Rooms whose randomness comes in as an argument: a draw from the global generator cannot be repeated or replaced.
INJECTED = {"transforms", "spectra", "wiener", "filters", "schedules", "denoisers", "samplers", "theory", "metrics"}
DRAWS = {"rand", "randn", "randint", "randperm", "normal", "rand_like", "randn_like", "randint_like", "manual_seed"}
GRIDS = {"linspace", "logspace", "arange"}  # no time grid is made inside a sampler: `times` is an argument


def name_of(path: Path, package: Path) -> str:
    """The room a file belongs to: the module or the folder right under the package."""
    return path.relative_to(package).parts[0].removesuffix(".py")


def files(package: Path = PACKAGE) -> list[Path]:
    """All sources of the package."""
    return sorted(path for path in package.rglob("*.py") if "__pycache__" not in path.parts)


def existing() -> list[str]:
    """The rooms that are there today."""
    return sorted({name_of(path, PACKAGE) for path in files()})


def imported(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line and room of every import from the package itself, those inside functions as well."""
    here = ("fewsteps", *path.relative_to(package).with_suffix("").parts)
    if here[-1] == "__init__":
        here = here[:-1]
        level_of = here
    else:
        level_of = here[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            stem = [*level_of[: len(level_of) - node.level + 1]] if node.level else []
            stem += node.module.split(".") if node.module else []
            targets = [[*stem, alias.name] for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] == "fewsteps":
                yield node.lineno, target[1] if len(target) > 1 else "__init__"


def wrong_arrows(package: Path = PACKAGE) -> list[str]:
    """One sentence for each import that points the wrong way."""
    sentences = []
    for path in files(package):
        room = name_of(path, package)
        if room not in ROOMS:
            sentences.append(f"{room} is a new room: add it to ROOMS in test_rooms.py with the rooms it may import.")
            continue
        allowed = ROOMS[room]
        for line, target in imported(path, package):
            where = f"{path.relative_to(package)}, line {line}"
            if target not in ROOMS:
                is_name = not (package / target).exists() and not (package / f"{target}.py").exists()
                if not is_name:  # `from fewsteps import __version__` names no room
                    sentences.append(f"{where}: {target} is a new room: add it to ROOMS in test_rooms.py.")
            elif allowed is not None and target != room and target not in allowed | GROUND | {"__init__"}:
                known = ", ".join(sorted(allowed)) or "no other room"
                sentences.append(f"{where}: {room} must not import {target}; it may know {known}.")
    return list(dict.fromkeys(sentences))


def bare_calls(path: Path, room: str) -> list[str]:
    """One sentence for each draw from the global generator, and in a sampler for each time grid."""
    sentences = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        owner = ast.unparse(node.func.value)
        call = f"{owner}.{node.func.attr}"
        # a generator of one's own is seeded on purpose
        if owner.split(".")[0] not in {"torch", "np", "numpy"} or owner.startswith("torch.Generator"):
            continue
        seeded = any(keyword.arg == "generator" for keyword in node.keywords)
        if room in INJECTED and node.func.attr in DRAWS and not seeded:
            sentences.append(f"{path.name}, line {node.lineno}: {call} draws from the global generator; take `noise`.")
        if room == "samplers" and node.func.attr in GRIDS:
            sentences.append(f"{path.name}, line {node.lineno}: {call} makes a grid; take `times` as an argument.")
    return sentences


def test_no_import_points_the_wrong_way():
    assert wrong_arrows() == []


def test_the_arrows_are_followed_to_their_end_and_make_no_circle():
    for room, allowed in ROOMS.items():
        for other in allowed or ():
            further = ROOMS[other]
            assert further is not None and room not in further, f"{room} and {other} know each other."
            assert further <= allowed, f"{room} may import {other}, so write out {further - allowed} as well."


def test_a_room_exists_as_a_file_or_as_a_folder_not_both():
    for room in existing():
        assert not ((PACKAGE / room).is_dir() and (PACKAGE / f"{room}.py").exists()), f"{room} is there twice."


@pytest.mark.parametrize("room", existing())
def test_randomness_and_time_grids_come_in_as_arguments(room):
    for path in files():
        if name_of(path, PACKAGE) == room:
            assert bare_calls(path, room) == []


def made(tmp_path: Path, **sources: str) -> Path:
    """A package with the given files; two underscores stand for a folder."""
    for name, source in sources.items():
        path = tmp_path / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return tmp_path


@pytest.mark.parametrize(
    ("room", "source", "sentence"),
    [
        ("transforms", "from fewsteps.spectra import phi", "transforms must not import spectra"),
        ("transforms", "import fewsteps.spectra", "transforms must not import spectra"),
        ("transforms", "from fewsteps import spectra", "transforms must not import spectra"),
        ("transforms", "from . import spectra", "transforms must not import spectra"),
        ("transforms", "from .spectra import phi", "transforms must not import spectra"),
        ("transforms", "def f():\n    from fewsteps import spectra", "transforms must not import spectra"),
        ("widgets__lab", "from ..training import loop", "widgets must not import training"),
        ("widgets__lab", "from fewsteps.cli import main", "widgets must not import cli"),
        ("samplers__ddim", "from fewsteps.networks.unet import UNet", "samplers must not import networks"),
        ("book__run", "from fewsteps.data import load", "book must not import data"),
        ("kitchen", "import torch", "kitchen is a new room: add it to ROOMS"),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path, room, source, sentence):
    found = wrong_arrows(made(tmp_path, **{room: source}))
    assert len(found) == 1
    assert sentence in found[0]


def test_right_arrows_pass(tmp_path):
    package = made(
        tmp_path,
        spectra="from fewsteps import __version__\nfrom fewsteps.transforms import dct2\nfrom .errors import DataError",
        samplers__ddim="from . import step\nfrom .step import Step\nfrom ..schedules import VP",
        samplers__step="import torch",
        cli="from fewsteps import training",
    )
    assert wrong_arrows(package) == []


def test_bare_calls_are_seen(tmp_path):
    lines = ("torch.randn(3)", "torch.randn(3, generator=torch.Generator().manual_seed(1))", "np.random.normal()")
    source = "\n".join((*lines, "torch.linspace(0, 1, 5)", "torch.exp(x)"))
    path = made(tmp_path, samplers__ddim=source) / "samplers" / "ddim.py"
    assert [sentence.split(":")[0] for sentence in bare_calls(path, "samplers")] == [
        "ddim.py, line 1",
        "ddim.py, line 3",
        "ddim.py, line 4",
    ]
    assert len(bare_calls(path, "spectra")) == 2  # a grid is no sin elsewhere
    assert bare_calls(path, "networks") == []  # initial weights come from the global generator


def test_shapes_are_checked_while_the_tests_run():
    """Without the import hook every shape in the library would be a comment."""
    loader = type(fewsteps.__spec__.loader)
    assert loader.__module__.startswith("jaxtyping")


def test_the_numerical_rooms_need_only_torch_and_numpy():
    """A machine that has torch and nothing else can import the mathematics."""
    blocked = {
        *("torchvision", "skimage", "sklearn", "scipy", "matplotlib", "anywidget", "ipywidgets", "plotly", "yaml"),
        *("PIL", "jaxtyping", "beartype", "IPython"),
    }
    rooms = [
        room
        for room in ("transforms", "spectra", "wiener", "schedules", "filters", "denoisers", "samplers", "theory")
        if room in existing()
    ]
    program = f"""
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name) + " on this machine", name=name)
sys.meta_path.insert(0, Blocker())
sys.path.insert(0, {str(PACKAGE.parent)!r})
for name in {["fewsteps", *(f"fewsteps.{room}" for room in rooms)]!r}:
    importlib.import_module(name)
print("all there")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "all there", done.stderr[-2000:]

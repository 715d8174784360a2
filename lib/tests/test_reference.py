"""The reference pages: every public name of every room, and docstrings that Sphinx can read."""

from pathlib import Path

import pytest
import yaml

from fewsteps.book import reference

ROOT = Path(__file__).resolve().parents[2]


def test_every_room_that_users_import_has_its_page_in_the_contents():
    parts = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())["parts"]
    [api] = [entry for part in parts for entry in part["chapters"] if entry["file"] == "book/api"]
    assert [section["file"] for section in api["sections"]] == [f"book/api/{room}" for room in reference.ROOMS]
    package = ROOT / "lib" / "fewsteps"
    rooms = {path.name.removesuffix(".py") for path in package.iterdir() if path.name[0] not in "_."} - {"py.typed"}
    inner = {"allocator", "book", "cli", "experiments", "export", "figures", "files", "memory", "resident"}
    inner |= {"results", "shapes"}
    assert rooms == set(reference.ROOMS) | inner


@pytest.mark.parametrize("room", reference.ROOMS)
def test_a_page_holds_every_public_name(room):
    page = reference.page(room)
    names = reference.public(room)
    assert names
    for name in names:
        assert f":: fewsteps.{room}.{name}\n" in page, name


def test_bars_are_bars_but_in_code():
    assert reference.plain("the norm |x| and ``a | b``") == r"the norm \|x\| and ``a | b``"


def test_the_index_lists_all():
    index = reference.pages()["book/api.md"]
    assert all(f"fewsteps.{room} </book/api/{room}>" in index for room in reference.ROOMS)

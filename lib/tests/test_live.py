"""Live figures: what a page of prose is given and what is refused, and what the script makes of a saved widget."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from fewsteps.book.live import with_figures
from fewsteps.errors import UserError

MARK = "# A page\n\n<!-- live: 00_a -->\n\nProse.\n"
VIEW = "application/vnd.jupyter.widget-view+json"
STATIC = Path(__file__).resolve().parents[2] / "book/_static"


def notebook(path, *, buffers=(), view="m", state=None):
    """An executed notebook with one figure, as papermill saves it."""
    traits = (
        {"_esm": "export default {}; // </script> <!-- <script", "_css": "p {}", "lam": 0.8} if state is None else state
    )
    models = {"m": {"model_module": "anywidget", "state": traits, "buffers": list(buffers)}, "l": {"state": {}}}
    cells = [
        {"cell_type": "markdown", "source": []},
        {"cell_type": "code", "outputs": [{"data": {VIEW: {"model_id": view}}}]},
    ]
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": models}}
    path.write_text(json.dumps({"cells": cells, "metadata": {"widgets": widgets}}))
    return path


def test_the_mark_becomes_the_figure_with_its_whole_state(tmp_path):
    path = notebook(tmp_path / "00_a.ipynb")
    text = with_figures(MARK, "book/index.md", lambda name: tmp_path / f"{name}.ipynb")
    assert text.startswith("# A page\n\n```{raw} html\n") and text.endswith("\n```\n\nProse.\n")
    state = re.search(r'<script type="application/json">(.*?)</script>', text)[1]
    models = json.loads(path.read_text())["metadata"]["widgets"].popitem()[1]["state"]
    assert json.loads(state) == models["m"]["state"]
    # Nothing in the state can end the script, or begin another.
    assert "<" not in state
    assert 'src="../_static/fewsteps-live.js"' in text


@pytest.mark.parametrize(("page", "up"), [("index.md", ""), ("book/chapters/05_tdas.md", "../../")])
def test_the_script_is_found_from_any_page(tmp_path, page, up):
    notebook(tmp_path / "00_a.ipynb")
    assert f'src="{up}_static/fewsteps-live.js"' in with_figures(MARK, page, lambda _: tmp_path / "00_a.ipynb")


def test_a_page_without_a_mark_stays_as_it_is():
    text = "Say <!-- live: 00_a --> within a line, or <!-- alive -->.\n"
    assert with_figures(text, "book/index.md", lambda name: pytest.fail(name)) == text


def test_a_notebook_that_has_not_run_leaves_a_sentence(tmp_path):
    text = with_figures(MARK, "book/index.md", lambda name: tmp_path / name)
    assert "once `notebooks/00_a.ipynb` has been run" in text and "raw" not in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"buffers": [{"path": ["photos"]}]}, r"holds bytes, which no page of prose can show\.$"),
        ({"view": "gone"}, r"^notebooks/00_a\.ipynb shows no live figure"),
        ({"view": "l"}, r"shows no live figure"),
    ],
)
def test_what_cannot_be_shown_is_one_sentence(tmp_path, given, words):
    path = notebook(tmp_path / "00_a.ipynb", **given)
    with pytest.raises(UserError, match=words):
        with_figures(MARK, "book/index.md", lambda _: path)


@pytest.mark.browser
def test_a_chapter_is_drawn_from_what_an_executed_notebook_saves(tmp_path, visit):
    """Bytes arrive where they belong, a change reaches who listens, and a widget of another kind is a sentence."""
    figure = """export default { render({ model, el }) {
      const [photos, nets] = [model.get("photos"), model.get("nets")];
      const show = () => (el.textContent = `${model.get("gamma")} ${[...photos]} ${[...nets[1].law]}`);
      model.on("change:gamma", show); show();
      el.addEventListener("click", () => { model.set("gamma", 2); model.save_changes(); });
      el.className = "figure";
    } }"""
    # Base64 of the bytes 0, 255, 7 and of 1, 2.
    buffers = [
        {"path": ["photos"], "encoding": "base64", "data": "AP8H"},
        {"path": ["nets", 1, "law"], "encoding": "base64", "data": "AQI="},
    ]
    traits = {"_esm": figure, "gamma": 1, "nets": [{}, {}]}
    models = {"m": {"model_name": "AnyModel", "state": traits, "buffers": buffers}, "s": {"state": {"value": 3}}}
    views = "".join(f'<div><script type="{VIEW}">{{"model_id": "{name}"}}</script></div>' for name in ("m", "s"))
    state = json.dumps({"state": models})
    (tmp_path / "index.html").write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><link rel="icon" href="data:,"><script defer src="live.js"></script>'
        f'<script type="application/vnd.jupyter.widget-state+json">{state}</script><body>{views}</body>'
    )
    shutil.copy(STATIC / "fewsteps-live.js", tmp_path / "live.js")
    visited = visit(tmp_path, "/index.html")
    page = visited.page
    page.wait_for_selector(".figure")
    assert page.locator(".figure").text_content() == "1 0,255,7 1,2"
    page.locator(".figure").click()
    assert page.locator(".figure").text_content() == "2 0,255,7 1,2"
    words = "This figure could not be drawn: it is a widget that needs a kernel, so open the notebook."
    assert page.locator("body > div").nth(1).locator("p").text_content() == words
    assert visited.trouble == []

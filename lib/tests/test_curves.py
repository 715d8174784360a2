"""Curves under the pointer: what plotly is told, and what a page makes of it in a real Chromium."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from fewsteps import figures
from fewsteps.experiments import boards

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "node_modules" / "plotly.js-basic-dist-min" / "plotly-basic.min.js"


ODD = "one <!--<script></script>"


def curves():
    lines = {
        ODD: [figures.Point(10, 2.00001, 0.1, "one, ten"), figures.Point(100, 0.5, 0.6, "one, a hundred")],
        "other": [figures.Point(20, 1.0, 0.1, "other, twenty")],
    }
    return figures.Curves(lines, "calls", "FD", "Distance & calls", ["other", "unknown"], "the table below")


def test_what_is_drawn_at_first_comes_first_and_looks_differ():
    import plotly.graph_objects as go

    plain = curves().plain()
    first, second = plain["data"]
    assert [first["name"], first["visible"], second["visible"]] == ["other", True, "legendonly"]
    assert second["y"] == [2.0, 0.5] and second["text"] == ["one, ten", "one, a hundred"]
    assert plain["layout"]["xaxis"]["tickvals"] == [10, 20, 100]
    assert plain["layout"]["yaxis"]["ticktext"] == ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50"]
    nothing = figures.Curves({"a": [figures.Point(1, 0.0, 0.1, "")]}, "x", "y", "t", ()).plain()["layout"]
    assert "range" not in nothing["yaxis"]
    go.Figure(plain)  # which refuses what it does not know
    many = figures.Curves({str(k): [] for k in range(30)}, "x", "y", "t", ["7", "3"]).plain()["data"]
    assert len({(line["line"]["color"], line["line"]["dash"]) for line in many}) == 30
    # Those that are drawn at first have the colours of a static figure with the same list.
    assert [line["name"] for line in many[:3]] == ["7", "3", "0"] and many[0]["line"]["color"] == figures.COLOURS[0]


def test_a_name_cannot_end_the_script_it_is_written_in():
    made = curves()._repr_mimebundle_()
    assert made["text/html"].count("<script") == made["text/html"].count("</script>") == 1
    assert "<!--" not in made["text/html"] and 'aria-label="Distance &amp; calls"' in made["text/html"]
    saved = re.search(r'json">(.*)</script>', made["text/html"])[1]
    assert json.loads(saved) == made["application/vnd.plotly.v1+json"] == curves().plain()


def test_every_method_of_a_scoreboard_has_its_numbers():
    """TDAS-11, PDS-9: those of the table beside it."""
    made = boards.curves("scoreboard-mnist", ["DDIM"])
    entries = boards.read("scoreboard-mnist")
    assert sum(map(len, made.lines.values())) == len(entries) and made.lines.keys() == {e.method for e in entries}
    ddim = next(entry for entry in entries if (entry.method, entry.nfe) == ("DDIM", 20))
    point = next(point for point in made.lines["DDIM"] if point.x == 20)
    assert (point.y, point.half) == (ddim.value, ddim.half) and f"20 calls: {ddim.value:.3g}" in point.said
    assert "20 calls, 19 made" in next(point for point in made.lines["Heun"] if point.x == 20).said


@pytest.fixture
def opened(tmp_path, page_with):
    """A page with the figure far down, with plotly or without."""

    def open_page(*, library):
        (tmp_path / "vendor").mkdir()
        if library:
            (tmp_path / "vendor" / "plotly.min.js").write_bytes(LIBRARY.read_bytes())
        style = (
            ":root { --pst-color-text-base: rgb(1, 2, 3); }"
            "[data-theme=dark] { --pst-color-text-base: rgb(250, 251, 252); }"
            # What a cell writes as HTML stands on white in a dark theme.
            "[data-theme=dark] .text_html { color: rgb(9, 9, 9); }"
        )
        figure = curves()._repr_mimebundle_()["text/html"]
        body = f'<style>{style}</style><div style="height: 3000px"></div><div class="text_html">{figure}</div>'
        return page_with("fewsteps-plots.js", body)

    return open_page


@pytest.mark.browser
class TestInTheBrowser:
    def test_it_is_drawn_when_it_comes_near_and_answers(self, opened):
        visited = opened(library=True)
        page = visited.page
        page.wait_for_timeout(200)
        assert page.evaluate("typeof window.Plotly") == "undefined"  # a megabyte that nobody has asked for yet
        page.locator(".fs-curves").scroll_into_view_if_needed()
        page.wait_for_selector(".fs-curves .scatterlayer .trace")
        assert page.locator(".scatterlayer .trace").count() == 1
        page.locator(".scatterlayer .point").first.hover(force=True)
        page.wait_for_selector(".hoverlayer .hovertext")
        assert "other, twenty" in page.locator(".hoverlayer").text_content()
        boxes = page.get_by_role("checkbox")
        assert [box.is_checked() for box in boxes.all()] == [True, False]
        page.get_by_label(ODD).press(" ")  # by keyboard
        page.wait_for_function("document.querySelectorAll('.scatterlayer .trace').length === 2")
        colour = "document.querySelector('.xtitle').style.fill"
        assert page.evaluate(colour) == "rgb(1, 2, 3)"
        page.evaluate("document.documentElement.dataset.theme = 'dark'")
        page.wait_for_function(f"{colour} === 'rgb(250, 251, 252)'")
        assert page.locator(".scatterlayer .trace").count() == 2  # what was chosen stays
        assert page.eval_on_selector(".fs-curves-chosen", "e => getComputedStyle(e).color") == "rgb(250, 251, 252)"
        assert visited.trouble == []

    def test_without_the_library_a_sentence_stands_there(self, opened):
        page = opened(library=False).page
        page.locator(".fs-curves").scroll_into_view_if_needed()
        page.wait_for_function("document.querySelector('.fs-curves').textContent.includes('could not be drawn')")
        assert page.get_by_text("in the table below").is_visible()

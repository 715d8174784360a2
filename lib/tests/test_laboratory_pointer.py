"""The pointer on the live figures: nothing lies over a control, and a mouse can drag it, in a real Chromium.

A file of its own, since one worker takes a file and this is the longest part of what the figures are put through.
"""

from __future__ import annotations

import pytest

from test_laboratories import LABORATORIES, laboratory  # noqa: F401 - a fixture

pytestmark = pytest.mark.browser

# What lies over a control at a point, or nothing.
OVER = """
(control, [x, y]) => {
  const met = document.elementFromPoint(x, y);
  return met === control ? "" : (met?.outerHTML.slice(0, 120) ?? "nothing");
}
"""


@pytest.mark.parametrize("page", LABORATORIES)
@pytest.mark.parametrize("width", [1700, 1300, 390])
def test_nothing_lies_over_a_control_and_a_mouse_can_drag_it(page, width, laboratory):  # noqa: F811
    """The pointer meets the control, a slider at both ends, wherever it came from; and a drag moves it."""
    visited = laboratory(page, viewport={"width": width, "height": 900})
    root = visited.page.locator(".fs-lab").first
    for control in root.locator("input, button").all():
        # A radio button is round, so only its middle is surely its own.
        shares = (0.03, 0.5, 0.97) if control.get_attribute("type") == "range" else (0.5,)
        for share in shares:
            # As a reader comes: down from the top of the page, where its contents are open, the pointer resting where
            # the control is about to be. The margin leaves room for the bar of buttons, which stays at the top.
            control.evaluate("c => { c.style.scrollMargin = '6rem'; c.scrollIntoView({ block: 'start' }); }")
            box = control.bounding_box()
            at = [box["x"] + share * box["width"], box["y"] + box["height"] / 2]
            visited.page.evaluate("scrollTo(0, 0)")
            visited.page.wait_for_timeout(60)  # the theme folds and opens with the next frames
            visited.page.mouse.move(*at)
            control.evaluate("c => c.scrollIntoView({ block: 'start' })")
            visited.page.wait_for_timeout(60)
            visited.page.mouse.move(at[0], at[1] + 1)
            over = control.evaluate(OVER, at)
            assert not over, f"{over} lies over {control.get_attribute('data-name')} at {share:.0%}"
    for slider in root.locator("input[type=range]").all():
        slider.scroll_into_view_if_needed()
        box, before = slider.bounding_box(), slider.input_value()
        left, y = box["x"] + 8, box["y"] + box["height"] / 2
        share = slider.evaluate("i => (i.value - i.min) / (i.max - i.min)")
        visited.page.mouse.move(left + share * (box["width"] - 16), y)
        visited.page.mouse.down()
        visited.page.mouse.move(left + (0.2 if share > 0.5 else 0.8) * (box["width"] - 16), y, steps=8)
        visited.page.mouse.up()
        assert slider.input_value() != before

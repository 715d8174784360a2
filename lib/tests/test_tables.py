"""Tables of the book's pages: sorted by any column and filtered by words, by mouse and by keyboard."""

import pytest

METHODS = ["reverse diffusion", "ancestral", "DDIM", "Heun", "2M", "best TDAS", "best PDS"]
VALUES = ["1.2 ± 0.1", "−3·10⁻³", "5·10⁴", "–", "0.5 [0.4, 0.6]", "12", "1,000"]


def table(count):
    rows = "".join(f"<tr><td>{METHODS[k % 7]} {k}</td><td>{VALUES[k % 7]}</td></tr>" for k in range(count))
    return f"<table><thead><tr><th>method</th><th>FD <i>of it</i></th></tr></thead><tbody>{rows}</tbody></table>"


@pytest.fixture
def opened(page_with):
    """A page with a table of so many rows."""
    return lambda count: page_with("fewsteps-tables.js", f'<article class="bd-article">{table(count)}</article>')


def column(page, place):
    return page.eval_on_selector_all(
        f"tbody tr:not([hidden]) td:nth-child({place})", "cells => cells.map((cell) => cell.textContent)"
    )


@pytest.mark.browser
class TestInTheBrowser:
    def test_numbers_sort_as_numbers_and_dashes_stay_last(self, opened):
        visited = opened(7)
        page, printed = visited.page, column(visited.page, 2)
        heading = page.get_by_role("button", name="FD of it")
        heading.click()
        assert column(page, 2) == ["−3·10⁻³", "0.5 [0.4, 0.6]", "1.2 ± 0.1", "12", "1,000", "5·10⁴", "–"]
        assert page.locator("th[aria-sort=ascending]").count() == 1
        heading.click()
        assert column(page, 2) == ["5·10⁴", "1,000", "12", "1.2 ± 0.1", "0.5 [0.4, 0.6]", "−3·10⁻³", "–"]
        heading.click()
        assert column(page, 2) == printed and page.locator("th[aria-sort]").count() == 0
        assert page.locator(".fs-filter").count() == 0
        assert not visited.trouble

    def test_names_sort_as_text_by_keyboard(self, opened):
        page = opened(7).page
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert column(page, 1) == sorted(column(page, 1), key=str.lower)

    def test_a_long_table_is_filtered_by_all_words_and_stays_sorted(self, opened):
        page = opened(21).page
        page.get_by_role("button", name="method").click()
        page.get_by_role("searchbox").fill("best tdas")
        assert column(page, 1) == ["best TDAS 5", "best TDAS 12", "best TDAS 19"]
        assert page.locator("output").text_content() == "3 of 21"
        page.get_by_role("searchbox").fill("")
        assert len(column(page, 1)) == 21 and page.locator("output").text_content() == ""

    def test_a_short_table_is_left_alone(self, opened):
        page = opened(4).page
        assert page.locator("button").count() == 0

    def test_the_books_pages_load_it(self, smoke_book, visit):
        """The scorecard's summary can be sorted by its verdicts."""
        visited = visit(smoke_book, "/book/scorecard.html")
        visited.page.wait_for_load_state("networkidle")
        verdict = visited.page.locator("th:has(.fs-sort)", has_text="verdict").first
        verdict.get_by_role("button").click()
        assert verdict.get_attribute("aria-sort") == "ascending"
        assert not visited.trouble

"""This project's own book, built with the smoke profile, page by page in a browser."""

from __future__ import annotations

import pytest


def batched(items, size):
    """So many at a time."""
    return [items[start : start + size] for start in range(0, len(items), size)]


pytestmark = pytest.mark.browser


def test_every_page_opens_without_errors_and_asks_nothing_of_other_sites(smoke_book, visit):
    pages = sorted(path.relative_to(smoke_book).as_posix() for path in smoke_book.rglob("*.html"))
    pages = [page for page in pages if "/" in page and not page.startswith("_")]
    assert "book/index.html" in pages
    trouble = {}
    for few in batched(pages, 5):  # together: each has to be silent for half a second
        visits = {page: visit(smoke_book, f"/{page}") for page in few}
        for page, visited in visits.items():
            visited.page.wait_for_load_state("networkidle")
            broken = visited.page.get_by_text("could not be drawn").all_text_contents()
            trouble[page] = visited.trouble + broken
            visited.page.close()
    assert {page: what for page, what in trouble.items() if what} == {}

"""This project's own book, built with the smoke profile, page by page in a browser."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser


def test_every_page_opens_without_errors_and_asks_nothing_of_other_sites(smoke_book, visit):
    pages = sorted(path.relative_to(smoke_book).as_posix() for path in smoke_book.rglob("*.html"))
    pages = [page for page in pages if "/" in page and not page.startswith("_")]
    assert "book/index.html" in pages
    trouble = {}
    for page in pages:
        visited = visit(smoke_book, f"/{page}")
        visited.page.wait_for_load_state("networkidle")
        trouble[page] = visited.trouble
    assert {page: what for page, what in trouble.items() if what} == {}

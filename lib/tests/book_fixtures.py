"""The book in a browser: a Chromium, the smoke book (built when needed), and pages that note whatever goes wrong."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass
class Visit:
    """A page of a site that is served on this machine, and what it did: three lists that should be empty."""

    page: object
    external: list[str] = field(default_factory=list)  # requests to anywhere else; they are refused
    failed: list[str] = field(default_factory=list)  # requests that were not answered well
    errors: list[str] = field(default_factory=list)  # on the console, or uncaught

    @property
    def trouble(self) -> list[str]:
        """All of it."""
        return self.external + self.failed + self.errors


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, or fails where FEWSTEPS_REQUIRE_BROWSER is set."""
    named = os.environ.get("FEWSTEPS_CHROMIUM")
    found = [path for name in ([named] if named else BROWSERS) if (path := shutil.which(name))]
    if found:
        return found[0]
    message = "no Chromium on PATH (or in FEWSTEPS_CHROMIUM): that the pages are live in a browser was NOT tested"
    if os.environ.get("FEWSTEPS_REQUIRE_BROWSER"):
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[object]:
    """A browser for the session."""
    from playwright.sync_api import sync_playwright

    # No sandbox: in a container Chromium has no right to make one, and it only sees pages made here.
    flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Visit]]:
    """Open a page: ``visit(directory, "/book/index.html", color_scheme="dark")``; the site is served while in use."""
    from fewsteps.book.serve import server

    opened = []

    def open_page(site: Path, path: str, **settings: object) -> Visit:
        running = server(site, 0)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{running.server_port}"
        context = browser.new_context(**settings)
        opened.append((context, running))
        visited = Visit(context.new_page())
        _watch(visited, base)
        visited.page.goto(base + path)
        return visited

    yield open_page
    for context, running in opened:
        context.close()
        running.shutdown()
        running.server_close()


def _watch(visited: Visit, base: str) -> None:
    def judge(route) -> None:
        if route.request.url.startswith((base, "data:", "blob:")):
            route.continue_()
        else:
            visited.external.append(route.request.url)
            route.abort()

    def answer(response) -> None:
        if response.status >= 400:
            visited.failed.append(f"{response.status} {response.url}")

    visited.page.route("**/*", judge)
    visited.page.on("response", answer)
    visited.page.on("requestfailed", lambda request: visited.failed.append(request.url))
    visited.page.on("pageerror", lambda error: visited.errors.append(str(error)))
    visited.page.on("console", lambda said: visited.errors.append(said.text) if said.type == "error" else None)


@pytest.fixture(scope="session")
def smoke_book() -> Path:
    """The directory of this project's own smoke book, built (or found up to date) as ``make book`` does it."""
    from fewsteps.book.build import build
    from fewsteps.book.execute import execute
    from fewsteps.book.project import Project
    from fewsteps.files import exclusive

    project = Project(ROOT)
    with exclusive(project.lock("smoke")):
        problems = [outcome.problem for outcome in execute(project, "smoke") if outcome.problem]
        assert not problems, "\n\n".join(problems)
        return build(project, "smoke")

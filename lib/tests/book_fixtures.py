"""The book in a browser: a Chromium, the smoke book (built when needed), and pages that note whatever goes wrong."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
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


@pytest.fixture
def page_with(tmp_path, visit) -> Callable[[str, str], Visit]:
    """Open a page that has the book's style and one of its scripts: ``page_with("fewsteps-tables.js", "<table>…")``."""

    def open_page(script: str, body: str) -> Visit:
        for name in (script, "fewsteps.css"):
            shutil.copyfile(ROOT / "book" / "_static" / name, tmp_path / name)
        (tmp_path / "page.html").write_text(
            '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
            f'<link rel="stylesheet" href="fewsteps.css">{body}<script defer src="{script}"></script>',
            encoding="utf-8",
        )
        visited = visit(tmp_path, "/page.html")
        visited.page.wait_for_load_state()
        return visited

    return open_page


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


@pytest.fixture
def jupyterlab(tmp_path: Path, browser) -> Iterator[Callable[..., object]]:
    """Open a notebook of these cells in JupyterLab, in ``tmp_path``, and run them: the page, its figure drawn."""
    servers = []

    def open_notebook(*cells: str) -> object:
        from nbformat import v4, write

        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells], metadata={"kernelspec": kernel})
        write(notebook, tmp_path / "live.ipynb")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}"]
        command += ["--allow-root", "--IdentityProvider.token=", "--ServerApp.password="]
        command += [f"--ServerApp.root_dir={tmp_path}"]
        quiet = {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
        said = tmp_path / "lab.log"
        with said.open("w") as log:
            servers.append(subprocess.Popen(command, env=os.environ | quiet, stdout=log, stderr=log, cwd=tmp_path))
        _answers_at(f"http://127.0.0.1:{port}/api", servers[-1], said)
        page = browser.new_context(viewport={"width": 1300, "height": 1000}).new_page()
        page.goto(f"http://127.0.0.1:{port}/lab/tree/live.ipynb")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
        # The indicator in the notebook says "idle" before there is a kernel; the status bar does not.
        page.get_by_text(re.compile(r"Python 3.*\| Idle")).wait_for(timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.wait_for_selector(".fs-lab[data-draws]", timeout=60_000)
        page.wait_for_function(
            "() => [...document.querySelectorAll('.jp-InputArea-prompt')].every((p) => /\\d/.test(p.textContent))",
            timeout=60_000,
        )
        return page

    yield open_notebook
    for server in servers:
        server.terminate()
        server.wait(20)


def _answers_at(address: str, server: subprocess.Popen, log: Path) -> None:
    """Wait until the server answers, or say what it printed."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


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

"""A pytest plugin that holds `data/coverage.yaml` to the tests it names.

After a full run every listed test must have been collected and must have passed: a test that was deleted, renamed,
skipped or marked as an expected failure is no evidence. A run of a part of the suite judges only what it collected.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fewsteps.book.coverage import load
from fewsteps.errors import UserError


class CoverageGuard:
    """Watches the reports of a session and turns its exit status into a failure.

    Register it in the controller only. With pytest-xdist the controller collects nothing and the workers' reports reach
    it all the same, so the guard relies on reports alone.

    Parameters
    ----------
    root : Path
        Root of the repository, which holds ``data/coverage.yaml``.
    tests : Path
        Folder of the tests, to which the listed node IDs are relative.
    """

    def __init__(self, root: Path, tests: Path):
        self.root = root
        self.tests = tests.resolve()
        self.outcomes: dict[str, str] = {}
        self.seen: dict[str, list[str]] = {}  # the same by names as they are listed, with and without parameters
        self.problems: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst that happened to each test over setup, call and teardown."""
        known = self.outcomes.get(report.nodeid)
        if known not in (None, "passed"):
            return
        if hasattr(report, "wasxfail"):
            outcome = "is marked as an expected failure"
        else:
            outcome = {"failed": "failed", "skipped": "was skipped"}.get(report.outcome, "passed")
        self.outcomes[report.nodeid] = outcome

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Compare, and fail the session unless pytest itself broke off."""
        judged = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
        if session.config.option.collectonly or session.exitstatus not in judged:
            return
        try:
            rows = load(self.root)
        except UserError as error:
            self.problems.append(str(error))
        else:
            # after -x the missing tests are those that never had their turn
            broke_off = bool(session.shouldfail or session.shouldstop)
            full = self.is_full(session.config) and not broke_off
            for nodeid, outcome in self.outcomes.items():
                name = self.relative(nodeid)
                for key in {name, name.partition("[")[0]}:
                    self.seen.setdefault(key, []).append(outcome)
            for row in rows:
                self.problems += [sentence for test in row.tests if (sentence := self.judge(row.id, test, full))]
        if self.problems:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name every problem, one sentence a line."""
        if self.problems:
            terminalreporter.section("coverage map", red=True)
            for problem in self.problems:
                terminalreporter.line(problem)

    def judge(self, row_id: str, listed: str, full: bool) -> str | None:
        """One sentence on a listed test, or None where it is as it should be.

        Parameters
        ----------
        row_id : str
        listed : str
            Node ID relative to the tests' folder; without ``[...]`` it stands for every parameter set.
        full : bool
            Whether a test that was not seen counts as missing.
        """
        found = self.seen.get(listed, [])
        if not found:
            return f"{row_id} lists the test {listed}, which was not collected." if full else None
        bad = [outcome for outcome in found if outcome != "passed"]
        return f"{row_id} lists the test {listed}, which {bad[0]}." if bad else None

    def relative(self, nodeid: str) -> str:
        """A node ID as pytest reports it, from its root, made relative to the tests' folder."""
        file, separator, rest = nodeid.partition("::")
        path = (self.rootpath / file).resolve()
        return (path.relative_to(self.tests).as_posix() if path.is_relative_to(self.tests) else file) + separator + rest

    def pytest_configure(self, config: pytest.Config) -> None:
        """Remember what node IDs are relative to."""
        self.rootpath = config.rootpath

    def is_full(self, config: pytest.Config) -> bool:
        """Whether the run was asked for every test file, with nothing selected away."""
        option = config.option
        narrowing = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise")
        if any(getattr(option, name, None) for name in narrowing):
            return False
        here = config.invocation_params.dir
        asked = [(here / argument).resolve() for argument in config.args if "::" not in argument]
        files = self.tests.rglob("test_*.py")
        return all(any(file.is_relative_to(path) for path in asked) for file in files)


def register(config: pytest.Config) -> None:
    """Put the guard on this repository's own suite."""
    if hasattr(config, "workerinput"):  # a worker of pytest-xdist sees a share of the tests and must not judge
        return
    tests = Path(__file__).resolve().parent
    config.pluginmanager.register(CoverageGuard(tests.parents[1], tests), "fewsteps-coverage")

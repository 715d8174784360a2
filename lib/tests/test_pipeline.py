"""The pipeline on small projects: what runs again and what does not, how failures look, and that nothing is torn."""

from __future__ import annotations

import http.client
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from fewsteps.book.build import BuildError, build
from fewsteps.book.execute import tasks
from fewsteps.book.project import Project
from fewsteps.book.serve import server
from fewsteps.book.vendor import vendor
from fewsteps.errors import ParameterError, UserError
from fewsteps.files import exclusive

ROOT = Path(__file__).resolve().parents[2]

WIDGET = '''\
import anywidget, traitlets

class Lab(anywidget.AnyWidget):
    _esm = """
    export default { render({ model, el }) {
      const input = document.createElement("input");
      Object.assign(input, { type: "range", min: 0, max: 1, step: 0.01, value: model.get("gamma") });
      const output = document.createElement("output");
      const draw = () => { output.textContent = `gamma ${model.get("gamma").toFixed(2)}`; };
      input.addEventListener("input", () => { model.set("gamma", Number(input.value)); model.save_changes(); });
      model.on("change:gamma", draw); draw(); el.append(input, output);
    } }"""
    gamma = traitlets.Float(0.5).tag(sync=True)

Lab()'''


def put_notebook(root: Path, name: str, *sources: str, parameters: str = 'profile = "cpu"') -> None:
    """Write a notebook: a title, the parameters, and a code cell for each source."""
    cells = [new_markdown_cell(f"# {name}"), new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    notebook = new_notebook(cells=cells + [new_code_cell(source) for source in sources])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")


def put_project(root: Path) -> Path:
    """A project without notebooks."""
    for directory in ("notebooks", "book", "data", "lib/fewsteps/book"):
        (root / directory).mkdir(parents=True)
    shutil.copy(ROOT / "_config.yml", root)
    (root / "lib/fewsteps/spectra.py").write_text("SCALE = 1\n")
    (root / "lib/fewsteps/cli").mkdir()
    (root / "lib/fewsteps/cli/book.py").write_text("\n")
    (root / "data/table.csv").write_text("1,2\n")
    (root / "requirements.lock").write_text("numpy==2\n")
    return root


def fewsteps(root: Path, *arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    """Run the command line in a project."""
    command = [sys.executable, "-m", "fewsteps.cli", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120, **settings)


def book(root: Path, *arguments: str, **settings) -> subprocess.CompletedProcess[str]:
    return fewsteps(root, "book", "--profile", "smoke", "--no-html", *arguments, **settings)


def printed(path: Path) -> str:
    """Everything that an executed notebook printed."""
    outputs = [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def stale(root: Path, profile: str = "smoke") -> list[str]:
    return [task.name for task in tasks(Project(root), profile) if not task.is_current()]


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    """A project of two notebooks after its first run; tests that change it take a copy."""
    root = put_project(tmp_path_factory.mktemp("ran"))
    put_notebook(root, "01_a", "print(profile, steps)", parameters='profile = "cpu"\nsteps = 1')
    put_notebook(root, "02_b", "print('b')", WIDGET)
    (root / "notebooks/profiles.yaml").write_text("smoke:\n  01_a: {steps: 7}\n")
    done = book(root)
    assert done.returncode == 0, done.stderr
    assert "2 run, 0 up to date" in done.stdout
    return root


@pytest.fixture
def copy(ran, tmp_path) -> Path:
    return shutil.copytree(ran, tmp_path / "copy")


class TestRun:
    def test_parameters_of_the_profile_reach_the_notebook(self, ran):
        assert printed(ran / "book/_executed/smoke/01_a.ipynb") == "smoke 7\n"

    def test_widget_state_is_kept(self, ran):
        state = nbformat.read(ran / "book/_executed/smoke/02_b.ipynb", 4).metadata.widgets
        models = state["application/vnd.jupyter.widget-state+json"]["state"].values()
        assert [model["state"]["gamma"] for model in models if model["model_module"] == "anywidget"] == [0.5]

    def test_no_path_of_this_machine_is_left_in_the_output(self, ran):
        assert str(ran) not in (ran / "book/_executed/smoke/02_b.ipynb").read_text()

    def test_each_finished_notebook_has_a_line_with_its_seconds(self, copy):
        put_notebook(copy, "02_b", "print('changed')")
        done = book(copy)
        assert "[1/1] 02_b" in done.stdout
        assert "1 run, 1 up to date" in done.stdout

    def test_papermill_runs_a_notebook_with_parameters(self, tmp_path):
        put_project(tmp_path)
        put_notebook(tmp_path, "03_x", "print(gamma * T)", parameters='profile = "cpu"\ngamma = 1\nT = 2')
        command = [sys.executable, "-m", "papermill", "notebooks/03_x.ipynb", "out.ipynb", "-p", "gamma", "20"]
        subprocess.run([*command, "-p", "T", "200"], cwd=tmp_path, check=True, capture_output=True)
        assert printed(tmp_path / "out.ipynb") == "4000\n"


class TestCache:
    @pytest.mark.alone
    def test_nothing_changed_runs_nothing_and_takes_no_time(self, ran):
        started = time.monotonic()
        done = book(ran)
        assert "0 run, 2 up to date" in done.stdout
        assert time.monotonic() - started < 5  # about 0.3 s on an idle machine

    def test_nothing_heavy_is_imported_to_find_that_out(self, ran):
        code = "import sys; from fewsteps.cli import main; ended = main(['book', '--profile', 'smoke', '--no-html']);"
        code += "print(*{'torch', 'papermill', 'sphinx', 'numpy'} & set(sys.modules), sep='', end=''); sys.exit(ended)"
        done = subprocess.run([sys.executable, "-c", code], cwd=ran, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        [line] = done.stdout.splitlines()
        assert "0 run, 2 up to date" in line

    def test_a_notebook_is_stale_when_it_changes(self, copy):
        put_notebook(copy, "02_b", "print('c')")
        assert stale(copy) == ["02_b"]

    def test_a_notebook_is_stale_when_its_parameters_change(self, copy):
        (copy / "notebooks/profiles.yaml").write_text("smoke:\n  01_a: {steps: 8}\n")
        assert stale(copy) == ["01_a"]

    def test_profiles_do_not_share_outputs(self, copy):
        assert stale(copy, "cpu") == ["01_a", "02_b"]

    @pytest.mark.parametrize("path", ["lib/fewsteps/spectra.py", "data/table.csv", "requirements.lock"])
    def test_all_are_stale_when_library_data_or_lock_change(self, copy, path):
        (copy / path).write_text("2\n")
        assert stale(copy) == ["01_a", "02_b"]

    def test_all_are_stale_when_library_or_data_gain_a_file(self, copy):
        (copy / "data/deep").mkdir()
        (copy / "data/deep/more.csv").write_text("1\n")
        assert stale(copy) == ["01_a", "02_b"]

    @pytest.mark.parametrize("path", ["lib/fewsteps/cli/book.py", "lib/fewsteps/book/build.py", "data/cache/photo.png"])
    def test_none_is_stale_when_only_the_pipeline_or_fetched_data_change(self, copy, path):
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text("2\n")
        assert stale(copy) == []

    def test_a_damaged_output_is_stale(self, copy):
        output = copy / "book/_executed/smoke/01_a.ipynb"
        output.write_text(output.read_text()[:100])
        assert stale(copy) == ["01_a"]

    def test_the_output_of_a_removed_notebook_is_removed(self, copy):
        (copy / "notebooks/02_b.ipynb").unlink()
        assert book(copy).returncode == 0
        assert sorted(path.name for path in (copy / "book/_executed/smoke").iterdir()) == ["01_a.ipynb", "01_a.key"]


class TestFailure:
    def test_failures_are_named_and_the_others_finish(self, tmp_path):
        root = put_project(tmp_path)
        put_notebook(root, "01_fails", "good = 1", "# why\nbad = 1 / 0")
        put_notebook(root, "02_refuses", "from fewsteps.errors import ParameterError\nraise ParameterError('T >= 1.')")
        put_notebook(root, "03_dies", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
        put_notebook(root, "04_good", "print('fine')")
        done = book(root)
        assert done.returncode == 1
        assert "FAILED notebooks/01_fails.ipynb, cell 4: # why" in done.stderr
        assert "ZeroDivisionError: division by zero" in done.stderr
        assert "FAILED notebooks/02_refuses.ipynb, cell 3: from fewsteps.errors import ParameterError" in done.stderr
        assert "\nParameterError: T >= 1.\n" in done.stderr
        assert "FAILED notebooks/03_dies.ipynb, cell 4: os.kill(os.getpid(), signal.SIGKILL)" in done.stderr
        assert "3 of 4 notebooks failed" in done.stderr
        assert sorted(path.name for path in (root / "book/_executed/smoke").glob("[!.]*")) == [
            "04_good.ipynb",
            "04_good.key",
        ]

    def test_a_killed_run_leaves_nothing_torn_and_the_next_completes(self, tmp_path):
        root = put_project(tmp_path)
        put_notebook(root, "01_quick", "print('quick')")
        waits = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\n"
        waits += "while not pathlib.Path('go').exists(): time.sleep(0.1)"
        put_notebook(root, "02_slow", waits)
        command = [sys.executable, "-m", "fewsteps.cli", "book", "--profile", "smoke", "--no-html", "--jobs", "2"]
        running = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL)
        executed = root / "book/_executed/smoke"
        wait_until((executed / "01_quick.key").exists)
        wait_until((root / "notebooks/pid").exists)
        time.sleep(0.2)
        kernel = int((root / "notebooks/pid").read_text())
        running.send_signal(signal.SIGKILL)
        running.wait()

        assert sorted(path.name for path in executed.glob("[!.]*")) == ["01_quick.ipynb", "01_quick.key"]
        wait_until(lambda: not Path(f"/proc/{kernel}/cmdline").exists() or is_zombie(kernel))  # its kernel ends with it
        (root / "notebooks/go").touch()
        done = book(root)
        assert done.returncode == 0, done.stderr
        assert "1 run, 1 up to date" in done.stdout
        assert not (executed / ".work").exists()

    def test_an_interrupted_run_says_so_in_a_sentence(self, tmp_path):
        root = put_project(tmp_path)
        put_notebook(root, "01_slow", "import pathlib, time\npathlib.Path('here').touch()\ntime.sleep(60)")
        command = [sys.executable, "-m", "fewsteps.cli", "book", "--profile", "smoke", "--no-html"]
        # A suite that runs in the background of a shell ignores Ctrl-C, and what it starts would inherit that.
        running = subprocess.Popen(
            command,
            cwd=root,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        wait_until((root / "notebooks/here").exists)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
        assert running.returncode == 130
        assert said.strip().splitlines()[-1].startswith("Interrupted; what was finished is kept")
        assert "Traceback" not in said

    def test_a_full_disk_is_one_sentence_and_no_torn_file(self, tmp_path):
        root = put_project(tmp_path)
        put_notebook(root, "01_big", "print('x' * 300_000)")
        # A limit on the size of files stands in for a full disk: write() fails in the same place.
        done = book(root, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)))
        assert done.returncode == 1
        sentence = "FAILED notebooks/01_big.ipynb: The executed notebook could not be written: File too large.\n"
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr and "Errno" not in done.stderr
        assert not list((root / "book/_executed/smoke").glob("[!.]*"))

    def test_write_atomic_keeps_the_old_file_when_the_disk_is_full(self, tmp_path):
        path = tmp_path / "table.json"
        path.write_text("old")
        code = f"""
import resource, pathlib, fewsteps.cli, fewsteps.cli.book, fewsteps.files as files
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
fewsteps.cli.book.run_book = lambda chosen: files.write_atomic(pathlib.Path({str(path)!r}), "x" * 5000)
raise SystemExit(fewsteps.cli.main(["book"]))"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr == f"Could not write {path}: File too large.\n"
        assert path.read_text() == "old"
        assert os.listdir(tmp_path) == ["table.json"]

    def test_two_builds_of_a_profile_wait_for_each_other(self, tmp_path):
        order = []

        def second():
            with exclusive(tmp_path / "lock"):
                order.append("second")

        with exclusive(tmp_path / "lock"):
            other = threading.Thread(target=second)
            other.start()
            time.sleep(0.3)
            order.append("first")
        other.join()
        assert order == ["first", "second"]


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["book", "--profile", "quick"], ["profile", "smoke, cpu, gpu", "quick"]),
            (["book", "--jobs", "0"], ["jobs", "at least 1", "0"]),
            (["book", "--jobs", "two"], ["--jobs", "two"]),
            (["book", "09_none"], ["names", "01_a, 02_b", "09_none"]),
            (["book", "--colour"], ["--colour"]),
            (["bok"], ["bok", "book"]),
            ([], ["COMMAND"]),
            (["serve"], ["make book"]),
            (["serve", "--port", "70000"], ["port", "65535", "70000"]),
        ],
        ids=lambda value: " ".join(value),
    )
    def test_is_one_sentence_and_writes_nothing(self, copy, arguments, words):
        if "70000" in arguments:
            (copy / "book/_build/html").mkdir()
            (copy / "book/_build/html/index.html").touch()
        before = sorted(copy.rglob("*"))
        done = fewsteps(copy, *arguments)
        assert done.returncode == 2
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert all(word in done.stderr for word in words)
        assert [path for path in sorted(copy.rglob("*")) if path.suffix != ".lock"] == [
            path for path in before if path.suffix != ".lock"
        ]

    def test_outside_a_project(self, tmp_path):
        done = fewsteps(tmp_path, "book")
        assert done.returncode == 2
        assert "checkout" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    def test_profiles_of_the_wrong_form(self, copy):
        (copy / "notebooks/profiles.yaml").write_text("smoke: [1]\n")
        done = book(copy)
        assert done.returncode == 2
        assert "notebooks/profiles.yaml" in done.stderr


@pytest.fixture
def site(tmp_path):
    """A served directory: its address is yielded, a secret lies outside."""
    (tmp_path / "secret").write_text("secret")
    pages = tmp_path / "pages"
    (pages / "deep").mkdir(parents=True)
    (pages / "index.html").write_text("<p>book")
    for name in ("a.mjs", "a.wasm", "a.js", "a.css"):
        (pages / name).touch()
    (pages / "link").symlink_to(tmp_path / "secret")
    with server(pages, 0) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address
        running.shutdown()


def get(address: tuple[str, int], path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(*address, timeout=5)
    connection.request("GET", path)
    return connection.getresponse()


class TestServe:
    def test_pages_are_served_on_loopback_only(self, site):
        assert get(site, "/").read() == b"<p>book"
        assert site[0] == "127.0.0.1"
        outside = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in outside - {"127.0.0.1"}:
            with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                socket.create_connection((address, site[1]), timeout=1).close()

    @pytest.mark.parametrize(
        "path", ["/../secret", "/%2e%2e/secret", "/deep/../../secret", "//secret", "/link", "/deep/"]
    )
    def test_nothing_outside_is_served_and_no_directory_listed(self, site, path):
        answer = get(site, path)
        assert answer.status == 404
        assert b"secret" not in answer.read().replace(b"/secret", b"")

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.mjs", "text/javascript"),
            ("a.js", "text/javascript"),
            ("a.wasm", "application/wasm"),
            ("a.css", "text/css"),
        ],
    )
    def test_types(self, site, name, kind):
        assert get(site, f"/{name}").headers["Content-Type"] == kind

    def test_port_in_use(self, site, tmp_path):
        with pytest.raises(ParameterError, match=rf"^Port {site[1]} is in use: choose another with --port "):
            server(tmp_path, site[1])


@pytest.fixture(scope="module")
def built(ran, tmp_path_factory) -> Path:
    """The project of ``ran`` with pages, built by the command line."""
    if not (ROOT / "node_modules").is_dir():
        pytest.skip("no node_modules (make setup brings it): that the pages can be built was NOT tested")
    root = shutil.copytree(ran, tmp_path_factory.mktemp("built") / "project")
    shutil.copytree(ROOT / "book/_static", root / "book/_static", ignore=shutil.ignore_patterns("*vendor*"))
    shutil.copy(ROOT / "package-lock.json", root)
    (root / "node_modules").symlink_to(ROOT / "node_modules")
    (root / "book/references.bib").touch()
    (root / "book/_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n  - glob: notebooks/*\n")
    (root / "book/index.md").write_text("# A book\n\n$$\\gamma = 1$$\n\n{doc}`/notebooks/02_b`\n")
    done = fewsteps(root, "book", "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    assert "0 run, 2 up to date" in done.stdout
    assert (
        "The book is at book/_build/smoke/html/index.html; make serve opens it at http://127.0.0.1:8000" in done.stdout
    )
    return root


class TestPages:
    @pytest.mark.alone
    def test_a_second_run_does_nothing(self, built):
        before = (built / "book/_build/smoke/html/index.html").stat().st_mtime_ns
        started = time.monotonic()
        assert fewsteps(built, "book", "--profile", "smoke").returncode == 0
        assert time.monotonic() - started < 5
        assert (built / "book/_build/smoke/html/index.html").stat().st_mtime_ns == before

    def test_the_latest_pages_are_those_that_are_served(self, built):
        assert (built / "book/_build/html").resolve() == (built / "book/_build/smoke/html").resolve()

    def test_a_warning_is_shown_with_its_file_and_the_old_pages_stay(self, built, tmp_path, capsys):
        root = shutil.copytree(built, tmp_path / "project", symlinks=True)
        (root / "book/index.md").write_text("# A book\n\n{doc}`/nowhere`\n")
        with pytest.raises(BuildError):
            build(Project(root), "smoke")
        assert "\nbook/index.md:3: WARNING: unknown document" in "\n" + capsys.readouterr().err
        assert "02_b" in (root / "book/_build/smoke/html/book/index.html").read_text()

    @pytest.mark.browser
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_a_widget_is_live_without_a_kernel_and_asks_nothing_of_other_sites(self, built, visit, scheme):
        visited = visit(built / "book/_build/html", "/notebooks/02_b.html", color_scheme=scheme)
        visited.page.wait_for_selector("output")
        visited.page.locator("input[type=range]").fill("0.77")
        assert visited.page.locator("output").text_content() == "gamma 0.77"
        assert visited.page.evaluate("document.documentElement.dataset.theme") == scheme
        assert visited.trouble == []

    @pytest.mark.browser
    def test_formulas_are_drawn_from_local_files(self, built, visit):
        visited = visit(built / "book/_build/html", "/book/index.html")
        visited.page.wait_for_selector("mjx-container")
        assert visited.trouble == []


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_zombie(pid: int) -> bool:
    """Whether a process has ended and only waits to be reaped by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_missing_front_end_packages_are_fetched_again_by_setup(tmp_path):
    """The sentence says `make setup`, so the stamp by which setup would do nothing must be gone."""
    root = put_project(tmp_path)
    (root / "node_modules").mkdir()
    stamp = root / "node_modules" / ".fewsteps-complete"
    stamp.write_text("{}")
    (root / "package-lock.json").write_text("{}")
    with pytest.raises(UserError, match=r"run make setup\.$"):
        vendor(Project(root))
    assert not stamp.exists()

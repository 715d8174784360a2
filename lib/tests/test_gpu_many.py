"""``tools/gpu_many.py``: who waits for whom, and what is packed when."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile

import pytest

from tool_module import TOOLS, tool_module


@pytest.fixture
def tool():
    """The tool as a module."""
    return tool_module("gpu_many")


def trained(state, name, content=b"w", *, log="7 s, done: it", torn=False):
    """A network in a state folder, as training leaves it."""
    folder = state / name
    folder.mkdir(parents=True, exist_ok=True)
    short = name.partition("~")[0]
    sha256 = hashlib.sha256(content).hexdigest()
    (folder / f"{short}.json").write_text(json.dumps({"weights": {"sha256": sha256}}))
    (folder / f"{short}.safetensors").write_bytes(content[1:] if torn else content)
    (folder / "out.log").write_text(log)


def packed(tool, state, out, limit=15.0, files=4):
    """The networks in the archives of one call, archive by archive."""
    assert tool.pack(state, out, limit, files) == 0
    found = []
    for path in sorted(out.glob("networks-*.tar")):
        with tarfile.open(path) as held:
            found.append({name.partition("/")[0] for name in held.getnames()})
    return found


def test_a_network_is_packed_once_until_it_moves_on(tool, tmp_path):
    state = tmp_path / "state"
    trained(state, "a")
    trained(state, "b")
    assert packed(tool, state, tmp_path / "1") == [{"a", "b"}]
    assert packed(tool, state, tmp_path / "2") == []
    trained(state, "b", b"further")
    assert packed(tool, state, tmp_path / "3") == [{"b"}]


def test_what_does_not_fit_is_left_for_the_next_call(tool, tmp_path, capsys):
    state = tmp_path / "state"
    for name in "abcde":
        trained(state, name, name.encode() * 2**18)  # a quarter of a MiB
    first = packed(tool, state, tmp_path / "1", limit=0.6, files=2)
    assert [len(part) for part in first] == [2, 2] and "left for the next call" in capsys.readouterr().out
    second = packed(tool, state, tmp_path / "2", limit=0.6, files=2)
    assert set.union(*first, *second) == set("abcde") and [len(part) for part in second] == [1]


def test_a_checkpoint_that_is_being_written_waits(tool, tmp_path):
    state = tmp_path / "state"
    trained(state, "a", torn=True)
    assert packed(tool, state, tmp_path / "1") == []
    trained(state, "a")
    assert packed(tool, state, tmp_path / "2") == [{"a"}]


def test_another_seed_is_packed_when_it_is_done(tool, tmp_path):
    state = tmp_path / "state"
    trained(state, "a~1", log="3 s, step 2 of 9")
    assert packed(tool, state, tmp_path / "1") == []
    trained(state, "a~1")
    assert packed(tool, state, tmp_path / "2") == [{"a~1"}]


def test_one_waits_for_another_and_does_not_begin_if_that_failed(tool, tmp_path, monkeypatch, capsys):
    """In their order, no more at once than asked for; what is done lies among the shipped."""
    state, shipped, begun = tmp_path / "state", tmp_path / "shipped", []
    shipped.mkdir()
    monkeypatch.setattr(tool.checkpoints, "FOLDER", shipped)

    def begin(job, state, interval):
        begun.append(job.name)
        if job.after:
            assert (shipped / f"{job.after}.safetensors").exists()
        trained(state, job.name)
        return subprocess.Popen([sys.executable, "-c", f"raise SystemExit({int(job.name == 'bad')})"])

    monkeypatch.setattr(tool, "begun", begin)
    jobs = [tool.Job.named(said) for said in ("late:5:first", "bad:1", "never:2:bad", "first:3", "seed~1:4")]
    assert jobs[0] == ("late", 5, "first") and jobs[1] == ("bad", 1, "")
    assert tool.work(jobs, state, 1, 60.0) == 2
    assert begun == ["bad", "first", "late", "seed~1"]
    assert sorted(path.stem for path in shipped.glob("*.json")) == ["first", "late"]
    assert "bad: failed" in capsys.readouterr().out


@pytest.mark.parametrize("said", [("a:1:a",), ("a:1:b", "b:1:a"), ("a:1", "a:2")])
def test_who_would_wait_for_ever_is_refused(tool, tmp_path, monkeypatch, said):
    monkeypatch.setattr(tool, "begun", lambda *given: pytest.fail("nobody can begin"))
    with pytest.raises(SystemExit, match="wait for"):
        tool.work([tool.Job.named(one) for one in said], tmp_path, 1, 60.0)


def test_what_is_shipped_is_not_written_over(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool.checkpoints, "FOLDER", tmp_path)
    (tmp_path / "a.json").write_text("shipped")
    trained(tmp_path / "state", "a")
    tool.put(tmp_path / "state" / "a", "a")
    assert (tmp_path / "a.json").read_text() == "shipped" and not (tmp_path / "a.safetensors").exists()


SCRIPT = TOOLS / "gpu_session.sh"


@pytest.fixture
def checkout(tmp_path):
    """A small repository with what the session's script looks for, and data sets of one byte each."""
    folder = tmp_path / "checkout"
    for name in (
        *("book/a.md", "notebooks/a.ipynb", "data/results/a.json", "data/pipelines/a.json", "lib/a.py"),
        *("requirements.lock", "package-lock.json", "data/checkpoints/fashion-eye.json", "data/checkpoints/mnist.json"),
        *("data/statistics/cifar10-32.pixels", "data/statistics/lfw-64.pixels"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "tools").mkdir()
    (folder / "tools" / "gpu_session.sh").write_text(SCRIPT.read_text())
    sets = {
        "fashion_mnist": ["train-images.gz"],
        "mnist": ["train-images.gz"],
        "cifar10": [
            "labels.npz",
            "names.txt.xz",
            "train.json",
            *(f"{s}_{k:02}.webp" for s in ("train", "test") for k in range(13)),
        ],
    }
    for where, names in sets.items():
        (tmp_path / "sets" / where).mkdir(parents=True)
        for name in names:
            (tmp_path / "sets" / where / name).write_text("x")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=a", "-c", "user.email=a", "commit", "-qm", "a"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


def session(checkout, *words, code=0):
    """One of the script's words, and what it said."""
    done = subprocess.run(
        ["bash", "tools/gpu_session.sh", *words],
        cwd=checkout,
        env={**os.environ, "FEWSTEPS_DATA": str(checkout.parent / "sets")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def there(folder):
    """Every file that git could see, and its content."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


def test_what_travels_is_put_aside_and_comes_back(checkout):
    before = there(checkout)
    session(checkout, "carry")
    left = there(checkout)
    assert (
        "lib/a.py" in left
        and "data/checkpoints/fashion-eye.json" in left
        and "data/statistics/cifar10-32.pixels" in left
    )
    assert (
        not {"book/a.md", "data/results/a.json", "data/checkpoints/mnist.json", "data/statistics/lfw-64.pixels"}
        & left.keys()
    )
    held = [name.partition("/")[2] for name in left if name.startswith((".gpu2/", ".gpu3/"))]
    assert len([name for name in held if name.endswith(".webp")]) == 26  # all of CIFAR-10, in two parts
    assert {".gpu/data/mnist/train-images.gz", ".gpu/session.sh"} <= left.keys()
    assert "restore comes first" in session(checkout, "carry", code=1)
    session(checkout, "restore")
    assert there(checkout) == before


def test_changes_are_not_put_aside_and_nothing_is_written_over(checkout):
    (checkout / "book" / "a.md").write_text("changed")
    assert "commit them first" in session(checkout, "carry", code=1)
    subprocess.run(["git", "checkout", "-q", "."], cwd=checkout, check=True)
    session(checkout, "carry")
    (checkout / "notebooks").mkdir()
    (checkout / "notebooks" / "new.ipynb").write_text("new")
    assert "notebooks is there again" in session(checkout, "restore", code=1)
    assert (checkout / ".aside" / "notebooks" / "a.ipynb").exists() and (checkout / "notebooks" / "new.ipynb").exists()


def test_what_came_back_is_unpacked(tool, checkout):
    state, out = checkout.parent / "state", checkout.parent / "out"
    trained(state, "a")
    trained(state, "a~1", b"another")
    packed(tool, state, out)
    (out / "res").mkdir()
    (out / "res" / "mnist-scale-200.starts").write_text("law")
    (out / "res" / "pixel-cifar10-1.json").write_text("{}")
    with tarfile.open(out / "results.tgz", "w:gz") as held:
        held.add(out / "res", "res")
    for path in (out / "res").iterdir():
        path.unlink()
    said = session(checkout, "unpack", str(out))
    assert (checkout / "data" / "in_training" / "a.safetensors").read_bytes() == b"w"
    assert (checkout / "data" / "statistics" / "mnist-scale-200.starts").read_text() == "law"
    assert (out / "res" / "pixel-cifar10-1.json").exists() and "--join" in said


def test_words_that_are_none_get_the_usage(checkout):
    assert "carry .gpu2" in session(checkout, "everything", code=2)
    assert "OUT" in session(checkout, "back", "0", code=1)

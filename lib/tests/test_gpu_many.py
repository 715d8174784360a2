"""``tools/gpu_many.py``: who waits for whom, and what is packed when."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest


@pytest.fixture
def tool():
    """The tool as a module."""
    path = Path(__file__).resolve().parents[2] / "tools" / "gpu_many.py"
    spec = importlib.util.spec_from_file_location("gpu_many", path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules["gpu_many"] = found
    spec.loader.exec_module(found)
    return found


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
        trained(state, name, name.encode())
    # Each counts as .2 MiB at least, for its card and logs.
    first = packed(tool, state, tmp_path / "1", limit=0.5, files=2)
    assert [len(part) for part in first] == [2, 2] and "left for the next call" in capsys.readouterr().out
    second = packed(tool, state, tmp_path / "2", limit=0.5, files=2)
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

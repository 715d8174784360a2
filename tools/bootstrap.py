"""Bring a fresh checkout to the point where ``fewsteps`` runs: ``.venv`` and ``node_modules``.

Needs nothing but the standard library of Python 3.11 or 3.12. Every step leaves a stamp behind when it has succeeded,
so a second run returns at once and an interrupted one goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
VENV_STAMP = VENV / ".fewsteps-complete"
VENV_MARKER = VENV / ".fewsteps-installing"
MODULES = ROOT / "node_modules"
MODULES_STAMP = MODULES / ".fewsteps-complete"
LOCK = ROOT / "requirements.lock"
# uv installs the lock several times faster than pip, which remains the fallback.
UV = "uv==0.13.8"


def main() -> int:
    """Complete what is missing and say how long it took."""
    try:
        _timed("install", ".venv", _ensure_venv)
        _timed("front-end packages", "node_modules", _ensure_modules)
    except subprocess.CalledProcessError as error:
        command = " ".join(str(part) for part in error.cmd[:4])
        print(f"Setting up stopped: `{command} ...` failed, see above; run make again to go on.", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Setting up stopped: {error.strerror} ({error.filename}); run make again to go on.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Setting up was interrupted; run make again to go on.", file=sys.stderr)
        return 130
    return 0


def _timed(label: str, what: str, step) -> None:
    started = time.monotonic()
    if step():
        print(f"[{time.monotonic() - started:6.1f} s] {label}: {what} is ready", flush=True)


def _ensure_venv() -> bool:
    """Make or complete ``.venv``; return whether anything was done."""
    wanted = {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "root": str(ROOT)}
    wanted |= {"inputs": _digest(LOCK, ROOT / "pyproject.toml")}
    found = _read(VENV_STAMP)
    if found == wanted and (VENV / "bin" / "python").exists():
        return False
    if _must_be_made_anew(found, wanted):
        print(f"making .venv with Python {wanted['python']}", flush=True)
        # The interpreter that runs this may be the .venv's own, which --clear removes: use the one it came from.
        _run(getattr(sys, "_base_executable", sys.executable), "-m", "venv", "--clear", VENV)
    VENV_STAMP.unlink(missing_ok=True)
    VENV_MARKER.touch()
    _install()
    _write(VENV_STAMP, wanted)
    VENV_MARKER.unlink()
    return True


def _must_be_made_anew(found: dict, wanted: dict) -> bool:
    """Whether ``.venv`` cannot be completed in place.

    It was interrupted half way (a package may lie there half written and look installed), belongs to another Python
    version, or was moved (its scripts name the old place). One without a stamp was made by hand and is kept.
    """
    python = VENV / "bin" / "python"
    if VENV_MARKER.exists() or not python.exists() or not (VENV / "pyvenv.cfg").exists():
        return True
    if any(found.get(name, wanted[name]) != wanted[name] for name in ("python", "root")):
        return True
    probe = "import pip, sys; print(*sys.version_info[:2], sep='.')"
    answer = subprocess.run([python, "-c", probe], capture_output=True, text=True)
    return answer.stdout.strip() != wanted["python"]


def _install() -> None:
    """Install the lock and then the project itself, without looking at its dependencies again."""
    pip = [VENV / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    locked = ["--require-hashes", "-r", LOCK]
    project = ["--no-deps", "--no-build-isolation", "-e", ROOT]
    print("installing the packages of requirements.lock", flush=True)
    try:
        _run(*pip, "install", "--quiet", UV)
        uv = [VENV / "bin" / "uv", "pip", "install", "--quiet", "--python", VENV / "bin" / "python"]
        # A wheel of half a gigabyte outlasts uv's default of 30 seconds on a slow line.
        environment = os.environ | {"UV_HTTP_TIMEOUT": os.environ.get("UV_HTTP_TIMEOUT", "600")}
        _run(*uv, *locked, environment=environment)
        _run(*uv, *project, environment=environment)
    except subprocess.CalledProcessError:
        print("uv could not; trying pip, which takes longer", flush=True)
        _run(*pip, "install", "--quiet", *locked)
        _run(*pip, "install", "--quiet", *project)


def _ensure_modules() -> bool:
    """Fetch the front-end packages with the Node of ``.venv``; return whether anything was done."""
    wanted = {"inputs": _digest(ROOT / "package.json", ROOT / "package-lock.json")}
    if _read(MODULES_STAMP) == wanted:
        return False
    print("fetching the front-end packages of package-lock.json", flush=True)
    # npm ci begins by removing node_modules, and the stamp in it. No package here needs an install script.
    path = os.pathsep.join([str(VENV / "bin"), os.environ.get("PATH", "")])
    _run(
        VENV / "bin" / "npm", "ci", "--ignore-scripts", "--loglevel=error", "--no-progress",
        environment=os.environ | {"PATH": path},
    )  # fmt: skip
    _write(MODULES_STAMP, wanted)
    return True


def _run(*command: object, environment: dict | None = None) -> None:
    parts = [str(part) for part in command]
    subprocess.run(parts, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, check=True)


def _digest(*paths: Path) -> str:
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in paths)).hexdigest()


def _read(stamp: Path) -> dict:
    try:
        return json.loads(stamp.read_text())
    except (OSError, ValueError):
        return {}


def _write(stamp: Path, content: dict) -> None:
    part = stamp.with_suffix(".part")
    part.write_text(json.dumps(content))
    part.replace(stamp)


if __name__ == "__main__":
    sys.exit(main())

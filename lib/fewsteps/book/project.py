"""Where a book's parts are, and what a profile sets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from fewsteps import parameters
from fewsteps.errors import ParameterError, UserError
from fewsteps.files import digest_file, digest_tree, files_below


@dataclass(frozen=True)
class Project:
    """A checkout of a book.

    Parameters
    ----------
    root : Path
        The directory with ``_config.yml``, ``notebooks/`` and ``book/``.
    output : Path, optional
        What is made goes to ``_executed`` and ``_build`` in here; ``root/book`` if not given.
    """

    root: Path
    output: Path | None = None

    @classmethod
    def find(cls, start: Path, output: Path | None = None) -> Project:
        """The project that a directory belongs to.

        Raises
        ------
        UserError
            Neither ``start`` nor a directory above it holds one.
        """
        for directory in (start, *start.parents):
            if (directory / "_config.yml").is_file() and (directory / "notebooks").is_dir():
                return cls(directory, output)
        raise UserError(
            f"{start} is not inside a checkout of fewsteps, which has _config.yml and notebooks/: change to one."
        )

    @cached_property
    def made(self) -> Path:
        """The directory of everything that is made."""
        return (self.output or self.root / "book").resolve()

    @property
    def notebook_directory(self) -> Path:
        """The notebooks' sources."""
        return self.root / "notebooks"

    def executed(self, profile: str) -> Path:
        """The directory of a profile's executed notebooks."""
        return self.made / "_executed" / profile

    def built(self, profile: str) -> Path:
        """The directory in which a profile's pages are made; the pages themselves are in its ``html``."""
        return self.made / "_build" / profile

    def lock(self, what: str) -> Path:
        """The file that is locked while something (a profile's notebooks and pages) is being made."""
        return self.made / "_build" / f".{what}.lock"

    @property
    def latest(self) -> Path:
        """A link to the pages that were built last."""
        return self.made / "_build" / "html"

    @property
    def vendor(self) -> Path:
        """The copies of the front-end packages."""
        return self.root / "book" / "_static" / "vendor"

    @property
    def models(self) -> Path:
        """The exported networks that pages run in the browser."""
        return self.root / "book" / "_static" / "models"

    def notebooks(self, names: list[str] | None = None) -> list[Path]:
        """The notebooks, all or those named (with or without the ``.ipynb``).

        Raises
        ------
        ParameterError
            There is none of that name.
        """
        known = {path.stem: path for path in sorted(self.notebook_directory.glob("*.ipynb"))}
        if not names:
            return list(known.values())
        stems = [Path(name).name.removesuffix(".ipynb") for name in names]
        for stem in stems:
            if stem not in known:
                raise ParameterError(f"names must be among {', '.join(known) or '(no notebooks yet)'}, not {stem!r}.")
        return [path for stem, path in known.items() if stem in stems]

    def parameters(self, profile: str, notebook: str) -> dict[str, Any]:
        """What a profile injects into a notebook.

        The profile's name, and whatever ``notebooks/profiles.yaml`` (optional) lists for this notebook::

            smoke:
              03_snr_trajectories: {T: 50}

        Raises
        ------
        UserError
            The file is not of that form.
        """
        parameters.profile(profile)
        path = self.notebook_directory / "profiles.yaml"
        try:
            table = yaml.safe_load(path.read_text()) or {} if path.is_file() else {}
            return {"profile": profile, **((table.get(profile) or {}).get(notebook) or {})}
        except (AttributeError, TypeError, yaml.YAMLError) as error:
            raise UserError("notebooks/profiles.yaml must map profile to notebook to parameter to value.") from error

    @cached_property
    def library_digest(self) -> str:
        """Hash of the library's sources that a notebook can see: not of the command line and this pipeline."""
        library = self.root / "lib" / "fewsteps"
        sources = files_below(library, leave_out=("book", "cli"))
        return digest_tree(self.root, (path for path in sources if path.suffix in {".py", ".js", ".css"}))

    @cached_property
    def data_digest(self) -> str:
        """Hash of the project's own data, without what no notebook reads: prose, claims and the coverage map."""
        paths = files_below(self.root / "data", leave_out=("cache", "coverage.yaml", "claims.yaml"))
        return digest_tree(self.root, (path for path in paths if path.suffix != ".md"))

    @cached_property
    def lock_digest(self) -> str:
        """Hash of the locked dependencies."""
        return digest_file(self.root / "requirements.lock")

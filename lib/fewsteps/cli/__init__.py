"""The command line: ``fewsteps book``, ``serve``, ``train``, ``sample``, ``evaluate`` and ``export``.

Nothing heavy is imported before it is needed: a book that is up to date takes a fraction of a second.
"""

from __future__ import annotations

import argparse
import errno
import sys
from typing import NoReturn

import fewsteps
from fewsteps.allocator import keep_freed
from fewsteps.cli import book, networks, sweeps
from fewsteps.errors import UserError

_CANNOT_WRITE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO),
    *(errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG),  # --output names something that is no folder
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Returns
    -------
    int
        0 if all went well; 1 if notebooks failed; 2 if the user can put it right, which one sentence on standard error
        tells how to; 130 if interrupted.
    """
    kept = "what was finished is kept, and the same command goes on from there"
    try:
        chosen = _parser().parse_args(arguments)
        kept = getattr(chosen, "kept", kept)
        keep_freed()
        return chosen.run(chosen)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        print(f"Could not write {error.filename2 or error.filename or 'a file'}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nInterrupted; {kept}.", file=sys.stderr)
        return 130


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].upper()}{message[1:]}; {self.prog} --help lists what can be given.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fewsteps", description="Accelerated diffusion, computed honestly.")
    parser.add_argument("--version", action="version", version=f"fewsteps {fewsteps.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for room in (book, networks, sweeps):
        room.add(commands)
    return parser

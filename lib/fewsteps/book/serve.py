"""Show the built pages on this machine, and on no other."""

from __future__ import annotations

import errno
import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from fewsteps.book.project import Project
from fewsteps.errors import ParameterError, UserError

HOST = "127.0.0.1"


class Handler(SimpleHTTPRequestHandler):
    """Static files, with the types that browsers insist on for modules and WebAssembly."""

    extensions_map: ClassVar[dict[str, str]] = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
        ".json": "application/json",
        ".woff2": "font/woff2",
    }

    def send_head(self):
        """Refuse what a link leads to outside the served directory; the base class already resolves ``..``."""
        path = Path(self.translate_path(self.path)).resolve()
        if not path.is_relative_to(Path(self.directory).resolve()):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def list_directory(self, path):
        """A directory without an index is not shown."""
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        """Have the browser ask again each time, or it shows yesterday's page after a new build."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing for each of the fifty files of a page."""


def server(directory: Path, port: int) -> ThreadingHTTPServer:
    """A server of a directory on the loopback address; port 0 takes a free one.

    Raises
    ------
    ParameterError
        The port is not one, is in use, or needs more rights.
    """
    if not 0 <= port <= 65535:
        raise ParameterError(f"port must be from 0 to 65535, not {port}.")
    try:
        return ThreadingHTTPServer((HOST, port), functools.partial(Handler, directory=str(directory)))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ParameterError(
                f"Port {port} is in use: choose another with --port (make serve PORT=8080)."
            ) from error
        if error.errno == errno.EACCES:
            raise ParameterError(f"Port {port} may not be opened by this user: choose one above 1023.") from error
        raise


def serve(project: Project, port: int) -> None:
    """Serve the pages that were built last until interrupted.

    Raises
    ------
    UserError
        None were built, or the port cannot be had.
    """
    if not (project.latest / "index.html").is_file():
        raise UserError("There is no book to serve yet: run make book first.")
    with server(project.latest.resolve(), port) as running:
        print(f"the book is at http://{HOST}:{running.server_port} (Ctrl-C ends it)", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()

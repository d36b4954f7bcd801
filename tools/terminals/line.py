"""The program, and the line on which a terminal reaches it: what each sends the other is kept."""

import fcntl
import json
import os
import pty
import secrets
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
_PAGE = Path(__file__).with_name("page.html")
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
# The program's own, wherever its terminal lives.
_OURS = ("PATH", "HOME", "TMPDIR", "VIRTUAL_ENV")
_NOT_THEIRS = ("PYTHONHOME", "LD_LIBRARY_PATH", "LD_PRELOAD")


class Line:
    """`sdterm` in a pseudo terminal; it starts when a terminal comes and says its size and environment."""

    def __init__(self, data: Path, settings: Mapping[str, str] = {}) -> None:
        self.sent = bytearray()
        """All that the program has written."""
        self.answered = bytearray()
        """All that the terminal has sent, which are its answers, since nobody types there."""
        self.size: tuple[int, int, int, int] | None = None
        """Rows, columns, and pixels wide and high, of the terminal, once it has come."""
        self._given = {f"SDTERM_{name.upper()}": value for name, value in settings.items()}
        self._given |= {"SDTERM_DATA": str(data), "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        self._ours = self._its = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._open = threading.Event()

    def open(self, environ: Mapping[str, str], size: Sequence[int]) -> None:
        self._ours, self._its = pty.openpty()
        self.resize(size)
        kept = {name: value for name, value in environ.items() if name not in _NOT_THEIRS and name[:6] != "SDTERM"}
        ours = {name: os.environ[name] for name in _OURS if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sdterm"],
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            env=kept | ours | self._given,
        )
        self._open.set()

    def resize(self, size: Sequence[int]) -> None:
        rows, columns, width, height = size
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("4H", *size))
        self.size = rows, columns, width, height
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGWINCH)

    def type(self, keys: str | bytes) -> None:
        os.write(self._ours, keys.encode() if isinstance(keys, str) else keys)

    def answer(self, answer: bytes) -> None:
        self.answered += answer
        self.type(answer)

    def output(self) -> Iterator[bytes]:
        self._open.wait()
        while True:
            try:
                chunk = os.read(self._ours, 65536)
            except OSError:  # as Linux has it, once nobody is at the other end
                return
            if not chunk:
                return
            self.sent += chunk
            yield chunk

    def close(self) -> None:
        if self._process:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._its)
            os.close(self._ours)


def _inside(folder: Path, name: str) -> Path | None:
    """A file of a folder, and of no other."""
    file = (folder / name).resolve()
    return file if file.is_relative_to(folder.resolve()) and file.is_file() else None


@contextmanager
def served(line: Line, xterm_js: Path | None) -> Iterator[str]:
    """The line on an HTTP server of its own, for `relay.py` and `page.html`: its address, which has a word that others
    on this machine cannot guess."""
    word = secrets.token_urlsafe(16)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if (path := self._path()) is None:
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            match path:
                case "/open":
                    line.open(**json.loads(body))
                case "/in":
                    line.answer(body)
                case "/size":
                    line.resize(json.loads(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            path = self._path()
            if path is None:
                return
            if path == "/out":
                self.send_response(200)
                self.end_headers()
                with suppress(OSError):  # the terminal is gone
                    for chunk in line.output():
                        self.wfile.write(chunk)
            elif path == "/":
                self._send(_PAGE)
            elif xterm_js and path.startswith("/lib/") and (file := _inside(xterm_js, path.removeprefix("/lib/"))):
                self._send(file)
            else:
                self.send_error(404)

        def _path(self) -> str | None:
            """What is asked for; whoever does not know the word is refused."""
            first, _, rest = self.path.partition("?")[0].removeprefix("/").partition("/")
            if secrets.compare_digest(first.encode(), word.encode()):
                return f"/{rest}"
            self.send_error(404)
            return None

        def _send(self, file: Path) -> None:
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("Content-Type", _TYPES.get(file.suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{word}"
    finally:
        line.close()
        server.shutdown()
        server.server_close()

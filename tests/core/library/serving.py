"""A server of models on this machine, with the faults of those elsewhere."""

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class File:
    """What is served under a path, and how."""

    content: bytes = b""
    etag: str | None = '"1"'
    ranges: bool = True
    breaks_at: list[int] = field(default_factory=list)
    """Of each answer, after how many bytes of the file the connection is cut. A look is an answer, too."""
    length: int | None = None
    """What it says it has, if that is a lie."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    token: str | None = None
    """Only who brings this one is given it."""
    heard: list[dict[str, str]] = field(default_factory=list)
    """The headers of each request."""
    held: threading.Event | None = None
    """After the first half it waits for this."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, files: dict[str, File], *arguments: Any) -> None:
        self.files = files
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self.close_connection = True
        at = self.path if self.path in self.files else self.path.partition("?")[0]
        file = self.files.get(at, File(status=404, etag=None))
        file.heard.append(dict(self.headers))
        if file.token and self.headers.get("Authorization") != f"Bearer {file.token}":
            file = File(status=401, etag=None)
        begin, status, end = 0, file.status, len(file.content)
        asked = self.headers.get("Range")
        if asked and file.ranges and status == 200 and self.headers.get("If-Range") in (None, file.etag):
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
            status = 206 if begin < end else 416
        self.send_response(status)
        if status == 206:
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{end}")
        if file.etag:
            self.send_header("ETag", file.etag)
        for name, value in file.headers.items():
            self.send_header(name, value)
        if file.length != -1:
            self.send_header("Content-Length", str(end - begin if file.length is None else file.length))
        self.end_headers()
        if status == 416:
            return
        end = file.breaks_at.pop(0) if file.breaks_at else end
        with contextlib.suppress(OSError):  # who looked has gone
            half = max(begin, end // 2)
            self.wfile.write(file.content[begin:half])
            if file.held:
                file.held.wait(60)
            self.wfile.write(file.content[half:end])

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def serving(files: dict[str, File]) -> Iterator[str]:
    """The URL of a server of these files, which may change meanwhile."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, files)) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def folder_hub(files: dict[str, bytes], sha256: dict[str, str], revision: str = "a" * 40) -> dict[str, File]:
    """A repository with these files, of which some have a checksum."""
    told = {
        "sha": revision,
        "siblings": [
            {"rfilename": name, "size": len(content), **({"lfs": {"sha256": sha256[name]}} if name in sha256 else {})}
            for name, content in files.items()
        ],
        "cardData": {"license": "openrail"},
    }
    served = {f"/owner/name/resolve/{revision}/{name}": File(content) for name, content in files.items()}
    return {"/api/models/owner/name?blobs=true": File(json.dumps(told).encode()), **served}


def hub(content: bytes, sha256: str, **more: Any) -> dict[str, File]:
    """Hugging Face as far as sdterm asks it: one repository with one model."""
    told = {
        "siblings": [
            {"rfilename": "README.md", "size": 1},
            {"rfilename": "model.safetensors", "size": len(content), "lfs": {"sha256": sha256}},
        ],
        "cardData": {"license": "openrail"},
    }
    return {
        "/api/models/owner/name?blobs=true": File(json.dumps(told).encode(), **more),
        "/owner/name/resolve/main/model.safetensors": File(content, **more),
    }

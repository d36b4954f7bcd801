"""Sources: what each kind is, which are refused, and how files come into staging."""

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdterm.core.extensions.install import fetch as fetching
from sdterm.core.extensions.install.fetch import FetchError, fetch, kind_of
from tests.core.extensions.making import folder, tar_of, wheel, zip_of

FILES = {"__init__.py": "x = 1\n", "data/curve.json": "[0]"}


@pytest.mark.parametrize(
    "source, kind",
    [
        ("https://example.org/someone/soft-euler", "git"),
        ("https://example.org/someone/soft-euler.git", "git"),
        ("ssh://git@example.org/someone/soft-euler.git", "git"),
        ("git@example.org:someone/soft-euler.git", "git"),
        ("https://example.org/archive/main.zip", "download"),
        ("https://example.org/soft_euler-1.0-py3-none-any.whl?x=1", "download"),
        ("http://127.0.0.1:8000/a.tar.gz", "download"),
        ("soft-euler", "package"),
        ("soft-euler[more]>=1,<2", "package"),
    ],
)
def test_a_source_is_known_by_its_form(source: str, kind: str) -> None:
    assert kind_of(source) == kind


REFUSED = [
    "",
    " ",
    "-oProxyCommand=evil",
    "--upload-pack=evil",
    "ext::sh -c evil",
    "ext::sh://evil",
    "fd::17",
    "file://localhost/etc",
    "file://localhost/etc/evil.zip",
    "git://example.org/x",
    "ftp://example.org/x.zip",
    "http://example.org/x.zip",
    "http://example.org/x",
    "http://127.0.0.1/x",
    "https://user:secret@example.org/x",
    "https://token@example.org/x.zip",
    "ssh://git:secret@example.org/x",
    "ssh://-oProxyCommand=evil/x",
    "ssh://-oProxyCommand=evil@example.org/x",
    "https://-evil.org/x",
    "https://%2doProxy/x",
    "ssh://example.org/-evil",
    "git@-oProxyCommand:x",
    "-git@example.org:x",
    "git@example.org:-evil",
    "https://",
    "https:///x",
    "https://[::1/x",
    "https://example.org:99999999/x",
    "https://example.org/a b",
    "https://example.org/\x1b[31m",
    "https://example.org\\@evil.org/x",
    "soft-euler @ https://example.org/x.whl",
    "soft-euler; python_version > '3'",
    "no such thing at all",
    "./missing",
    "missing.zip",
    "x" * 3000,
]


@pytest.mark.parametrize("source", REFUSED, ids=range(len(REFUSED)))
def test_a_source_that_is_more_than_it_seems_is_refused(source: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(source, tmp_path, print)
    assert "\x1b" not in str(caught.value) and "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@given(st.text(max_size=60))
@example("~nobody-of-that-name/x")
def test_whatever_is_asked_for_has_a_kind_or_is_refused(source: str) -> None:
    with contextlib.suppress(FetchError):
        assert kind_of(source) in ("git", "download", "archive", "path", "package", "wheel")


# --- local ------------------------------------------------------------------------------------------------------------


def test_a_folder_is_copied_without_what_is_left_behind(tmp_path: Path) -> None:
    source = folder(tmp_path / "soft-euler", FILES | {".git/config": "", "__pycache__/a.pyc": ""})
    fetched = fetch(str(source), tmp_path / "staging", print)
    assert fetched.name == "soft-euler"
    assert contents(fetched.path) == FILES


def test_a_file_is_copied(tmp_path: Path) -> None:
    source = folder(tmp_path, {"soft.py": "x = 1\n"}) / "soft.py"
    fetched = fetch(str(source), tmp_path / "staging", print)
    assert (fetched.name, fetched.path.read_text()) == ("soft", "x = 1\n")


@pytest.mark.parametrize("to", ["/etc/passwd", "/etc"])
def test_a_link_inside_a_folder_refuses_it(to: str, tmp_path: Path) -> None:
    source = folder(tmp_path / "mine", FILES)
    (source / "passwords").symlink_to(to)
    with pytest.raises(FetchError, match="a link"):
        fetch(str(source), tmp_path / "staging", print)


@pytest.mark.parametrize(
    "top, name", [("soft-euler-main/", "soft-euler"), ("soft-euler-1.2.0/", "soft-euler"), ("", "packed")]
)
def test_an_archive_of_one_folder_is_that_folder(top: str, name: str, tmp_path: Path) -> None:
    made = zip_of(tmp_path / "packed.zip", {top + path: text for path, text in FILES.items()})
    (tmp_path / "staging").mkdir()
    fetched = fetch(str(made), tmp_path / "staging", print)
    assert fetched.name == name and contents(fetched.path) == FILES


def test_a_wheel_that_would_leave_its_folder_is_not_shown_to_pip(tmp_path: Path) -> None:
    made = wheel(tmp_path, "evil", "1.0", {"../evil.py": ""})
    (tmp_path / "staging").mkdir()
    with pytest.raises(FetchError, match="not allowed"):
        fetch(str(made), tmp_path / "staging", print)


# --- git --------------------------------------------------------------------------------------------------------------

GIT = shutil.which("git")
needs_git = pytest.mark.skipif(GIT is None, reason="git is not here")


def git(place: Path, *words: str) -> None:
    author = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(["git", "-C", str(place), *author, *words], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = folder(tmp_path / "soft-euler", FILES)
    git(place, "init", "--quiet")
    git(place, "add", ".")
    git(place, "commit", "--quiet", "-m", "first")
    return place


@needs_git
def test_a_repository_s_newest_commit_is_fetched(repository: Path, tmp_path: Path) -> None:
    (repository / "uncommitted.py").write_text("")
    (tmp_path / "staging").mkdir()
    fetched = fetch(repository.as_uri(), tmp_path / "staging", print, transports=("file",))
    assert fetched.name == "soft-euler" and contents(fetched.path) == FILES


@needs_git
def test_git_itself_refuses_a_transport_that_is_not_allowed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if our own look at the URL should miss one."""
    monkeypatch.setattr(fetching, "kind_of", lambda source, transports: "git")
    (tmp_path / "staging").mkdir()
    marker = tmp_path / "marker"
    for source in (repository.as_uri(), f"ext::touch {marker}", str(repository)):
        with pytest.raises(FetchError, match="not allowed"):
            fetch(source, tmp_path / "staging", print)
    assert not marker.exists()


@needs_git
def test_links_and_submodules_of_a_repository_are_not_followed(repository: Path, tmp_path: Path) -> None:
    (repository / "passwords").symlink_to("/etc/passwd")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "evil")
    (tmp_path / "staging").mkdir()
    with pytest.raises(FetchError, match="neither a file nor a folder"):
        fetch(repository.as_uri(), tmp_path / "staging", print, transports=("file",))
    assert not list((tmp_path / "staging").glob("**/__init__.py"))


@needs_git
def test_a_repository_that_is_not_there_is_said_by_git(tmp_path: Path) -> None:
    (tmp_path / "staging").mkdir()
    with pytest.raises(FetchError, match="git failed"):
        fetch((tmp_path / "gone").as_uri(), tmp_path / "staging", print, transports=("file",))


def test_without_git_one_is_told_of_zip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FetchError, match="zip file"):
        fetch("https://example.org/someone/soft-euler", tmp_path, print)


# --- downloads --------------------------------------------------------------------------------------------------------


class Served(BaseHTTPRequestHandler):
    """Serves a folder; `/to/X` leads to the URL X."""

    def __init__(self, folder: Path, *arguments: Any) -> None:
        self.folder = folder
        super().__init__(*arguments)

    def do_GET(self) -> None:
        if self.path.startswith("/to/") or self.path == "/circle.zip":
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        file = self.folder / self.path.lstrip("/")
        self.send_response(200 if file.is_file() else 404)
        self.end_headers()
        self.wfile.write(file.read_bytes() if file.is_file() else b"")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """Its URL, and the folder that it serves."""
    place = tmp_path / "served"
    place.mkdir()
    (tmp_path / "staging").mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Served, place)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", place
        server.shutdown()
        thread.join()


def test_an_archive_is_downloaded_and_unpacked(server: tuple[str, Path], tmp_path: Path) -> None:
    url, place = server
    tar_of(place / "a.tar.gz", {f"soft-euler-main/{name}": text.encode() for name, text in FILES.items()})
    fetched = fetch(f"{url}/to/{url}/a.tar.gz", tmp_path / "staging", print)
    assert fetched.name == "soft-euler" and contents(fetched.path) == FILES


@pytest.mark.parametrize(
    "to, words",
    [
        ("http://example.org/a.zip", "https only"),
        ("file://localhost/etc/passwd.zip", "https only"),
        ("https://user:secret@example.org/a.zip", "user name or password"),
    ],
)
def test_a_redirect_is_looked_at_as_the_url_was(to: str, words: str, server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=words):
        fetch(f"{server[0]}/to/{to}", tmp_path / "staging", print)


def test_redirects_in_a_circle_and_missing_files_end_in_a_sentence(server: tuple[str, Path], tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="404"):
        fetch(f"{server[0]}/a.zip", tmp_path / "staging", print)
    with pytest.raises(FetchError, match="again and again"):
        fetch(f"{server[0]}/circle.zip", tmp_path / "staging", print)


def test_a_download_is_cut_off_at_its_limit(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "MOST_PACKED", 1000)
    (server[1] / "a.zip").write_bytes(bytes(100_000))
    with pytest.raises(FetchError, match="The download is larger than"):
        fetch(f"{server[0]}/a.zip", tmp_path / "staging", print)
    assert (tmp_path / "staging" / "download").stat().st_size <= 1000


def contents(path: Path) -> dict[str, str]:
    return {str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()}

"""Where the host listens, and where it must not."""

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sdterm.core.settings.logins import logins
from sdterm.core.settings.rundir import RunFolder, make_private, run_folder_of
from sdterm.core.settings.settings import Settings
from sdterm.core.settings.tokens import new_token
from sdterm.host.access import listening
from sdterm.host.access.listening import ListenError, listen
from sdterm.host.access.said import who_is_let_in
from tests.host.conftest import settings_of


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    make_private(run_folder_of(tmp_path))
    return run_folder_of(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield int(other.getsockname()[1])


def wanted(root: Path, **settings: object) -> Settings:
    found = settings_of(root)
    for key, value in ({"port": 0} | settings).items():
        found = found.with_value(key, value, "a test")
    return found


def test_this_machine_alone_needs_no_credentials(tmp_path: Path, run_folder: RunFolder) -> None:
    it = listen(wanted(tmp_path), run_folder)
    with closing(it.socket):
        assert it.is_local and it.url == f"http://127.0.0.1:{it.port}" and it.note == ""


@pytest.mark.parametrize(
    "address", [{"listen": True}, {"server_name": "0.0.0.0"}, {"credentials_always": True}], ids=str
)
def test_other_machines_are_let_in_by_nobody_without_credentials(
    tmp_path: Path, run_folder: RunFolder, address: dict[str, object]
) -> None:
    with pytest.raises(ListenError, match=r"sdterm token new NAME.*--api-auth NAME:PASSWORD") as refused:
        listen(wanted(tmp_path, **address), run_folder)
    assert str(refused.value).count(".") <= 4 and "\n" not in str(refused.value)
    it = listen(wanted(tmp_path, **address, api_auth=logins("a:b")), run_folder)
    it.socket.close()
    new_token(run_folder.tokens, "old", "read", 0.0, expires=1.0)
    with pytest.raises(ListenError, match="make a token first"):
        listen(wanted(tmp_path, **address), run_folder)
    new_token(run_folder.tokens, "bot", "read", 0.0)
    it = listen(wanted(tmp_path, **address), run_folder)
    with closing(it.socket):
        assert it.is_local == ("credentials_always" in address)


def test_a_port_that_was_chosen_is_that_one_and_who_has_it_is_said(
    tmp_path: Path, run_folder: RunFolder, taken: int
) -> None:
    with pytest.raises(ListenError, match=rf"Port {taken} is taken by .*\(process \d+\)\. Choose another one: --port"):
        listen(wanted(tmp_path, port=taken), run_folder)


def test_without_a_choice_the_next_free_port_is_taken(
    tmp_path: Path, run_folder: RunFolder, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "PORT", taken)
    it = listen(settings_of(tmp_path), run_folder)
    with closing(it.socket):
        assert taken < it.port < taken + listening.TRIES
        assert f"Port {taken} is taken by " in it.note


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"server_name": "no such name"}, "not an address of this machine"),
        ({"server_name": "192.0.2.1", "api_auth": logins("a:b")}, "cannot listen on 192.0.2.1"),
        ({"server_name": "\x1b[31m" + "x" * 100}, "not an address of this machine"),
        ({"tls_certfile": "/nowhere.pem"}, "both a certificate and its key"),
        ({"tls_certfile": "/nowhere.pem", "tls_keyfile": "/nowhere.key"}, "cannot be read: No such file"),
        ({"cors_allow_origins": ("*",)}, "every page that you open"),
        ({"cors_allow_origins": ("null",)}, "every page that you open"),
        ({"cors_allow_origins_regex": "("}, "is not a pattern"),
        ({"cors_allow_origins_regex": ".*"}, "matches every page"),
        ({"cors_allow_origins_regex": "https?://.+"}, "matches every page"),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_sentence(
    tmp_path: Path, run_folder: RunFolder, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ListenError, match=said) as refused:
        listen(wanted(tmp_path, **settings), run_folder)
    assert str(refused.value).isprintable() and str(refused.value).endswith(".")


@pytest.mark.parametrize(
    "credentials", [{"api_auth": logins("a:b")}, {"credentials_always": True}, {"share": "me@gpu"}], ids=str
)
def test_every_page_may_be_let_in_where_all_need_credentials(
    tmp_path: Path, run_folder: RunFolder, credentials: dict[str, object]
) -> None:
    new_token(run_folder.tokens, "bot", "read", 0.0)
    for pages in ({"cors_allow_origins": ("*",)}, {"cors_allow_origins_regex": ".*"}):
        listen(wanted(tmp_path, **pages, **credentials), run_folder).socket.close()


def test_files_that_are_no_certificate_are_refused(tmp_path: Path, run_folder: RunFolder) -> None:
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("no certificate")
    files = {"tls_certfile": str(tmp_path / "c.pem"), "tls_keyfile": str(tmp_path / "k.pem")}
    with pytest.raises(ListenError, match=r"c\.pem and k\.pem are not a certificate with its key"):
        listen(wanted(tmp_path, **files), run_folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "to programs of this machine alone: /v1 needs a token."),
        ({"api": True}, "A1111's API needs no password, /v1 needs a token."),
        ({"share": "me@gpu", "api_auth": logins("a:b")}, "to programs of this machine, and shared: /v1 needs a token."),
        ({"api": True, "api_auth": logins("a:b")}, "A1111's API needs a login or a token, /v1 needs a token."),
        (
            {"api": True, "api_auth": logins("a:b"), "listen": True},
            "to every machine that reaches this one: A1111's API needs a login or a token, /v1 needs a token. Without",
        ),
        (
            {"api_auth": logins("a:b"), "listen": True, "web": False},
            "/v1 needs a token. The login opens nothing: for A1111's API add --api. Without TLS",
        ),
    ],
    ids=str,
)
def test_one_line_says_what_is_open_to_whom(
    tmp_path: Path, run_folder: RunFolder, settings: dict[str, object], said: str
) -> None:
    chosen = wanted(tmp_path, **settings)
    it = listen(chosen, run_folder)
    with closing(it.socket):
        line = who_is_let_in(it, chosen)
    assert said in line and "\n" not in line and f":{it.port}" in line and "0.0.0.0" not in line


@pytest.mark.parametrize(("address", "family"), [("0.0.0.0", socket.AF_INET), ("::", socket.AF_INET6)])
def test_to_other_machines_the_address_is_told_that_ours_go_out_by(
    tmp_path: Path, run_folder: RunFolder, address: str, family: int
) -> None:
    chosen = wanted(tmp_path, server_name=address, api_auth=logins("a:b"))
    try:
        it = listen(chosen, run_folder)
    except ListenError:
        pytest.skip(f"This machine has no {address}.")
    with closing(it.socket):
        line = who_is_let_in(it, chosen)
    told = re.search(r"http://(\[.+\]|[^:]+):\d+", line)
    assert told
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.9" if family == socket.AF_INET else "2001:db8::9", 9))
            out = probe.getsockname()[0]
    except OSError:
        out = socket.gethostname()
    assert told[1].strip("[]") == out

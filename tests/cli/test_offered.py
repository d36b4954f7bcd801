"""Commands that list or read run no extension, and no bad one keeps them from their work."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run, environment
from tests.host.running import wait_until

MINE = """
from sdterm.hooks import Option, Sampler, hookimpl
{more}

@hookimpl
def sdterm_samplers():
    return [Sampler("mine", "Mine", lambda *a, **k: None, options=(Option("twist", 0.5, "", 0, 1),))]
"""
INFOTEXT = "a house\nSteps: 3, Sampler: Mine, CFG scale: 7.0, Seed: 1, Size: 64x64, Twist: 0.25"
READERS = (
    ["samplers"],
    ["plugins"],
    ["prompt", "a house", "--sampler", "Mine"],
    ["info", "INFOTEXT"],
    ["generate", "--from", "INFOTEXT", "--detach"],
)


class Place:
    """A data folder, and the commands that look at it."""

    def __init__(self, data: Path, sdterm: Run) -> None:
        self.data, self.extensions, self._sdterm = data, data / "extensions", sdterm
        self.extensions.mkdir(parents=True)
        (data / "text.txt").write_text(INFOTEXT)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        words = [str(self.data / "text.txt") if word == "INFOTEXT" else word for word in arguments]
        done: subprocess.CompletedProcess[str] = self._sdterm(*words, SDTERM_DATA=str(self.data))
        return done


@pytest.fixture
def place(tmp_path: Path, sdterm: Run) -> Iterator[Place]:
    found = Place(tmp_path / "data", sdterm)
    yield found
    assert found.run("host", "stop").returncode == 0


def test_without_a_host_an_extension_that_ends_its_process_is_a_sentence(place: Place) -> None:
    (place.extensions / "deadly.py").write_text("import os\nos._exit(3)\n")
    for command in READERS:
        done = place.run(*command)
        assert done.returncode == 1, command
        assert done.stderr.startswith("Error: Loading the plugins ended the process (exit code 3)."), command
        assert "--disable-all-extensions" in done.stderr


@pytest.mark.heavy
def test_reading_imports_no_extension_and_knows_what_it_gives(place: Place) -> None:
    mark = f"import os; open({str(place.data / 'pids')!r}, 'a').write(f'{{os.getpid()}} ')"
    (place.extensions / "mine.py").write_text(MINE.format(more=mark))
    for command in READERS[:-1]:
        env = environment(SDTERM_DATA=str(place.data))
        words = [str(place.data / "text.txt") if word == "INFOTEXT" else word for word in command]
        reader = subprocess.Popen([sys.executable, "-m", "sdterm", *words], stdout=subprocess.PIPE, env=env)
        shown = reader.communicate(timeout=120)[0].decode()
        assert reader.returncode == 0 and (command[0] == "prompt" or "Mine" in shown), command
        assert str(reader.pid) not in (place.data / "pids").read_text().split(), command
    assert json.loads(place.run("info", "INFOTEXT", "--json").stdout)["request"]["sampler_options"] == {"twist": 0.25}


@pytest.mark.heavy
def test_where_a_host_runs_everybody_sees_what_serves(place: Place) -> None:
    (place.extensions / "mine.py").write_text(MINE.format(more=""))
    assert place.run("host", "start").returncode == 0
    wait_until(lambda: "Mine" in place.run("samplers").stdout)
    (place.extensions / "deadly.py").write_text("import os\nos._exit(3)\n")
    (place.extensions / "mine.py").write_text("raise RuntimeError('half written')")
    for command in READERS:
        done = place.run(*command)
        assert done.returncode == 0, (command, done.stderr)
        assert command[0] in ("prompt", "generate") or "Mine" in done.stdout, command
    tried = ("not loaded: loading it ended the process (exit code 3)", "RuntimeError: half written")
    wait_until(lambda: all(words in place.run("plugins").stdout for words in tried))
    assert "The newest version was not loaded, this is the one before it: " in place.run("plugins").stdout
    assert place.run("samplers", "--disable-all-extensions").stdout.count("Mine") == 0

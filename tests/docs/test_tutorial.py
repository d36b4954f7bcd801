"""The tutorial and the page on model families, followed literally: what they say to type is typed, what they say to
write is written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sdterm.core.extensions.manifest import Manifest, read_manifest
from tests.cli.conftest import environment

_STEP = re.compile(
    r"^<!-- file: (?P<file>\S+) -->\n```python\n(?P<text>.*?)^```$"
    r"|^<!-- replace: (?P<where>\S+): (?P<old>\S+) -> (?P<new>\S+) -->$"
    r"|^```console\n(?P<console>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.heavy
@pytest.mark.parametrize(("page", "commands"), [("tutorial", 9), ("sdterm_model_families", 5)])
def test_a_page_does_what_it_says(page: str, commands: int, repo: Path, tmp_path: Path) -> None:
    data, programs = tmp_path / "my data", tmp_path / "bin"
    data.mkdir()
    programs.mkdir()
    for name, module in (("sdterm", "-m sdterm"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (programs / name).chmod(0o755)
    env = environment(SDTERM_DATA=str(data))
    env["PATH"] = f"{programs}{os.pathsep}{env['PATH']}"

    def run(command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=data, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout + done.stderr

    text = (repo / "docs" / "plugins" / f"{page}.md").read_text()
    done = 0
    try:
        for step in _STEP.finditer(text):
            if step["file"]:
                (data / step["file"]).parent.mkdir(exist_ok=True)
                (data / step["file"]).write_text(step["text"])
            elif step["where"]:
                written = (data / step["where"]).read_text()
                assert step["old"] in written
                (data / step["where"]).write_text(written.replace(step["old"], step["new"]))
            else:
                for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", step["console"], re.MULTILINE):
                    said = run(command)
                    for line in shown.splitlines():
                        wanted = ".*".join(map(re.escape, line.split("…")))
                        assert re.search(wanted, said), f"$ {command}\n{said}\nbut the page shows: {line}"
                    done += 1
    finally:
        run("sdterm host stop")
    assert done >= commands


def test_the_page_on_testing_runs(repo: Path, tmp_path: Path) -> None:
    page = (repo / "docs" / "plugins" / "testing.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(compile(code, "testing.md", "exec"), {})
    (toml,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "extension.toml").write_text(toml)
    manifest = read_manifest(tmp_path)
    assert all(getattr(manifest, name) for name in Manifest.model_fields)

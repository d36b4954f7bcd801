"""The commands that speak to the host: a real one, in the background, started by the first of them."""

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdterm.core.settings.paths import EMBEDDINGS, LORAS
from tests.cli.conftest import Run, environment

SMALL = ["--steps", "2", "--size", "64x64"]


def test_a_host_is_started_by_who_needs_it_and_ends_on_request(sdterm: Run, tmp_path: Path) -> None:
    run = partial(sdterm, SDTERM_DATA=str(tmp_path / "data"))
    assert run("host", "status").returncode == 1
    assert run("host", "status", "--json").stdout == '{"running": false}\n'
    assert "no host has run here" in run("host", "logs").stdout
    assert "No host is running" in run("host", "stop").stdout
    assert "The host runs" in run("host", "start").stdout
    status = json.loads(run("host", "status", "--json").stdout)
    assert status["running"] and status["queue"]["counts"]["queued"] == 0
    (worker,) = status["workers"]
    assert worker["memory_total"] > worker["memory_used"] > 0
    off: dict[str, object] = {
        "pid": None,
        "job": None,
        "phase": "off",
        "model": None,
        "kept": [],
        "trouble": None,
        "drained": False,
    }
    assert {"device": "auto", **off}.items() <= worker.items(), "nothing is loaded before it is needed"
    assert f"process {status['pid']}" in run("host", "status").stdout
    other = run("generate", "x", "--device", "mps")
    assert other.returncode == 1 and "the command line says 'mps'" in other.stderr and "--local" in other.stderr
    assert "sdterm host stop" in other.stderr
    assert "SDTERM_DEVICE says 'mps'" in run("generate", "x", SDTERM_DEVICE="mps").stderr
    assert "ready" in run("host", "logs").stdout
    assert run("host", "stop").stdout == "The host has ended.\n"
    assert run("host", "status").returncode == 1


def test_a_detached_job_is_listed_watched_and_found_again(sdterm: Run, tmp_path: Path) -> None:
    job = sdterm(
        "generate", "an owl's house", *SMALL, "--count", "2", "--detach", "--out", str(tmp_path)
    ).stdout.strip()
    assert job.isdecimal()
    shown = sdterm("attach", job)
    paths = shown.stdout.splitlines()
    assert shown.returncode == 0 and len(paths) == 3 and all(Path(path).is_file() for path in paths)
    assert sdterm("attach", job).stdout == shown.stdout, "whoever comes late sees the same"
    listed = next(line for line in sdterm("queue").stdout.splitlines() if line.split()[0] == job)
    assert "done" in listed and "2/2" in listed and "an owl's house" in listed
    listed_as_json = [json.loads(line) for line in sdterm("queue", "--all", "--json").stdout.splitlines()]
    assert int(job) in [known["id"] for known in listed_as_json]
    found = sdterm("gallery", "owl")
    assert [line.split()[-1] for line in found.stdout.splitlines()] == paths[::-1]
    assert "scp " in found.stderr and paths[0] in found.stderr
    archive = tmp_path / "my owls.zip"
    assert "3 images are in" in sdterm("gallery", "owl", "--export", str(archive)).stdout
    assert sorted(zipfile.ZipFile(archive).namelist()) == sorted(Path(path).name for path in paths)
    assert "is there already" in sdterm("gallery", "owl", "--export", str(archive)).stderr
    assert sdterm("gallery", "nothing has these words").stdout == ""
    assert sdterm("gallery", "owl steps:2 -sampler:euler").stdout == found.stdout
    refused = sdterm("gallery", "stps>2")
    assert refused.returncode and "Did you mean 'steps'" in refused.stderr
    assert json.loads(sdterm("gallery", "owl", "--limit", "1", "--json").stdout)["path"] == paths[-1]
    newest = json.loads(sdterm("gallery", "owl", "--limit", "1", "--json").stdout)
    deleted = sdterm("gallery", "--delete", str(newest["id"]))
    assert f"sdterm gallery --restore {newest['id']}" in deleted.stderr and not Path(newest["path"]).exists()
    assert "is deleted already" in sdterm("gallery", "--delete", str(newest["id"])).stderr
    assert json.loads(sdterm("trash", "list", "--json").stdout)["picture"] == newest["id"]
    assert newest["path"] in sdterm("trash", "list").stdout and "--yes" in sdterm("trash", "empty").stderr
    assert "0 images are permanently deleted" in sdterm("trash", "empty", "--yes", "--older-than", "1").stderr
    assert newest["path"] in sdterm("gallery", "--restore", str(newest["id"])).stderr and Path(newest["path"]).exists()


@pytest.mark.heavy
def test_jobs_are_paused_moved_resumed_and_cancelled_by_name(sdterm: Run, tmp_path: Path) -> None:
    sdterm("queue", "pause")
    try:
        one, two, three = (
            sdterm("generate", f"cat {n}", *SMALL, "--detach", "--out", str(tmp_path)).stdout.strip() for n in range(3)
        )
        assert "The queue is paused" in sdterm("queue").stdout
        assert "first" in sdterm("queue", "move", three, "--first").stdout
        assert "last" in sdterm("queue", "move", one).stdout
        order = [line.split()[0] for line in sdterm("queue").stdout.splitlines() if " queued " in line]
        assert set(order) == {one, two, three}
        assert f"Job {two} is cancelled" in sdterm("cancel", two).stdout
        assert "is paused" in sdterm("queue", "pause", one).stdout
        assert sdterm("cancel", two).stderr == f"Error: Job {two} is cancelled and cannot be cancelled.\n"
    finally:
        sdterm("queue", "resume")
    assert sdterm("attach", three).returncode == 0
    assert sdterm("queue", "resume", one).returncode == 0 and sdterm("attach", one).returncode == 0
    assert sdterm("attach", two).returncode == 130


def test_images_wait_at_a_step_for_some_to_be_chosen(sdterm: Run, tmp_path: Path) -> None:
    job = sdterm(
        "generate", "lake", *SMALL, "--count", "3", "--pause-at", "1", "--detach", "--out", str(tmp_path)
    ).stdout.strip()
    waiting = sdterm("attach", job)
    assert waiting.stdout == "" and "Paused at step 1" in waiting.stderr and f"queue resume {job}" in waiting.stderr
    assert "0 to 2" in sdterm("queue", "resume", job, "--images", "3").stderr
    assert "like 0,3,4" in sdterm("queue", "resume", job, "--images", "a").stderr
    assert sdterm("queue", "resume", job, "--images", "2,0").returncode == 0
    events = [json.loads(line) for line in sdterm("attach", job, "--json").stdout.splitlines()]
    names = [event["event"] for event in events]
    assert names.index("paused") < names.index("image") and names[-1] == "done"
    assert [event["index"] for event in events if event["event"] == "image"] == [0, 2]
    done = [json.loads(line) for line in sdterm("queue", "--json", "--all").stdout.splitlines()]
    assert next(known for known in done if known["id"] == int(job))["left_out"] == [1]


def test_unknown_jobs_and_wrong_states_are_one_sentence(sdterm: Run) -> None:
    for command in (["attach", "99999"], ["cancel", "99999"], ["queue", "retry", "99999"], ["queue", "move", "99999"]):
        done = sdterm(*command)
        assert done.returncode == 1 and done.stderr == "Error: There is no job 99999.\n" and not done.stdout


def test_what_an_image_says_is_drawn_by_the_host_too(sdterm: Run, tmp_path: Path) -> None:
    first = sdterm(
        "generate", "a red house", *SMALL, "--seed", "3", "--set", "emphasis=No norm", "--out", str(tmp_path)
    )
    again = sdterm("generate", "--from", first.stdout.strip(), "--out", str(tmp_path))
    pictures = [Path(done.stdout.strip()) for done in (first, again)]
    assert len({path.read_bytes() for path in pictures}) == 1 and len({*pictures}) == 2


@pytest.mark.heavy
def test_a_second_picture_needs_no_torch_and_no_loading(sdterm: Run, data: Path, tmp_path: Path) -> None:
    sdterm("generate", "warm", *SMALL, "--out", str(tmp_path))
    command = [sys.executable, "-X", "importtime", "-m", "sdterm", "generate", "cat", *SMALL, "--json"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path)], env=environment(SDTERM_DATA=str(data)), capture_output=True, text=True
    )
    assert "model_loading" not in [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert " torch\n" not in done.stderr and " sdterm.host\n" not in done.stderr


@pytest.mark.heavy
def test_on_a_terminal_ctrl_c_cancels_and_the_bell_rings_at_the_end(data: Path, tmp_path: Path) -> None:
    def on_terminal(*arguments: str, interrupt: bytes = b"") -> tuple[int, bytes]:
        leader, follower = pty.openpty()
        env = environment(SDTERM_DATA=str(data), TERM="xterm-256color")
        process = subprocess.Popen(
            [sys.executable, "-m", "sdterm", *arguments],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=follower,
            stderr=follower,
        )
        os.close(follower)
        said = b""
        while select.select([leader], [], [], 60)[0]:
            try:
                said += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if interrupt and interrupt in said:
                process.send_signal(signal.SIGINT)
                interrupt = b""
        os.close(leader)
        return process.wait(20), said

    code, said = on_terminal("generate", "cat", *SMALL, "--notify", "bell", "--no-show", "--out", str(tmp_path))
    assert code == 0 and said.endswith(b"\a")
    code, said = on_terminal("generate", "cat", *SMALL, "--notify", "osc9", "--no-show", "--out", str(tmp_path))
    assert code == 0 and b"\x1b]9;sdterm: job " in said and b" done\x07" in said
    code, said = on_terminal("generate", "cat", "--steps", "900", "--no-show", interrupt=b"it/s")
    assert code == 130 and b"Cancelled." in said and b"Traceback" not in said


@pytest.mark.heavy
def test_a_host_that_is_stopped_stays_stopped_though_somebody_watches(tmp_path: Path) -> None:
    env = environment(SDTERM_DATA=str(tmp_path / "data"), PYTHONUNBUFFERED="1")
    sdterm = [sys.executable, "-m", "sdterm"]
    watching = subprocess.Popen(
        [*sdterm, "generate", "cat", "--steps", "900", "--json"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout
    for line in watching.stdout:
        if '"event":"step"' in line:
            break
    stopped = subprocess.run([*sdterm, "host", "stop"], env=env, capture_output=True, text=True, timeout=60)
    assert stopped.stdout == "The host has ended.\nJob 1 continues when the next one starts.\n"
    _, said = watching.communicate(timeout=30)
    assert watching.returncode == 1 and said.endswith("`sdterm attach 1` starts it again, and the job continues.\n")
    status = subprocess.run([*sdterm, "host", "status"], env=env, capture_output=True, text=True, timeout=60)
    assert status.returncode == 1
    cancelled = subprocess.run([*sdterm, "cancel", "1"], env=env, capture_output=True, text=True, timeout=60)
    assert "Job 1" in cancelled.stdout
    subprocess.run([*sdterm, "host", "stop"], env=env, capture_output=True, timeout=60, check=True)


def test_hashes_that_are_not_known_are_computed_with_progress(sdterm: Run, data: Path) -> None:
    for folder, name in ((LORAS, "inky"), (EMBEDDINGS, "wordy")):
        (data / folder).mkdir(parents=True, exist_ok=True)
        save_file({"emb_params": np.ones((1, 768), np.float32)}, data / folder / f"{name}.safetensors")
    computed = json.loads(sdterm("models", "hash", "--kind", "lora", "--json").stdout)
    digest = hashlib.sha256((data / LORAS / "inky.safetensors").read_bytes()).hexdigest()
    assert [row["sha256"] for row in computed if row["name"] == "inky"] == [digest]
    rest = sdterm("models", "hash", "--all")
    assert rest.returncode == 0 and "wordy" in rest.stdout and "inky" not in rest.stdout
    again = sdterm("models", "hash", "--all")
    assert (again.returncode, again.stdout) == (0, "") and "All hashes are known." in again.stderr
    named = sdterm("models", "hash", "inky", "--kind", "lora").stdout.split()
    assert len(named[0]) == 12 and named[1:] == ["inky"]
    both = sdterm("models", "hash", "inky", "--all")
    assert both.returncode == 2 and "--all" in both.stderr
    assert sdterm("models", "hash", "--stop").returncode == 0

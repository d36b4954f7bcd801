"""Benchmarks that need another machine, tried out on this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.wheels import wanted


@pytest.mark.heavy
def test_the_benchmark_of_gpus_runs_dry(repo: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device", "cpu", "--tiny", "--steps", "2"]
    environment = os.environ | {"CXX": "no-such-compiler"}  # the plan fast has its own test
    done = subprocess.run(command, cwd=repo, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cases = json.loads(done.stdout.splitlines()[-1])["cases"]
    assert cases.keys() == {"sd15", "hires", "inpaint", "pipeline"}
    assert all(case["auto"]["seconds"]["n"] == 3 for case in cases.values()), cases
    assert all(cases[name]["auto_over_diffusers"]["seconds"]["n"] == 3 for name in ("sd15", "pipeline")), cases
    assert "no-such-compiler" in cases["sd15"]["fast"]["reason"]


@pytest.mark.heavy
def test_the_benchmark_of_memory_measures_a_plan(repo: Path) -> None:
    words = ["--model", "demo", "--size", "64", "--only", "auto;bf16", "--pairs", "1"]
    done = subprocess.run([sys.executable, "-m", "benchmarks.memory", *words], cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert all(found["plans"][name].keys() >= {"step", "decode", "peak"} for name in ("auto", "bf16")), found
    assert "stable-diffusion.cpp is skipped" in found["in_turns"]["skipped"]


def test_a_machine_with_torch_is_taken_everything_else(repo: Path) -> None:
    names = wanted((repo / "requirements.txt").read_text(), {"torch", "numpy"})
    assert {name.split("==")[0] for name in names} >= {"diffusers", "transformers", "textual"}
    assert not [name for name in names if name.startswith(("torch=", "numpy=", "-", "#"))]


@pytest.mark.heavy
def test_the_benchmark_of_pipelines_measures_a_small_one(repo: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.pipelines", "--size", "tiny", "--pairs", "1"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["drawing"]["time"]["n"] == found["loading"]["time"]["n"] == 1, found
    assert found["drawing"]["memory"] > 0.5 and found["tap"]["processor_ms"]["n"] > 4, found


@pytest.mark.heavy
def test_the_benchmark_of_access_measures_a_far_host(repo: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.access", "--pairs", "2"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["first_step"]["staying"]["tls_ms"]["n"] == found["first_step"]["connecting"]["tls_ms"]["n"] == 2, found
    assert (found["broken"]["missed"], found["broken"]["told_twice"]) == (0, 0) and found["broken"]["events"] > 10
    assert found["broken"]["ends"]["breaks"] == found["broken"]["goes_silent"]["breaks"] == 2
    assert found["workstation"]["drawing_ms"]["n"] == 8 and found["workstation"]["start_bytes"]["line"] > 1000, found

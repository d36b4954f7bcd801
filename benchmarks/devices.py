"""What several devices bring: `python -m benchmarks.devices` prints one line of JSON.

Two processes of one thread each on the CPU stand for two cards. Candidates take turns:

one    a job of N images on one of them
two    a job of 2 N images that both draw
apart  two hosts of one device each, a job of N images on both at once: what this machine gives two processes

throughput_over_twice_one  1 is: twice as much in the same time. Other work on the machine's cores shows in it.
throughput_over_apart      what sharing one job costs against two jobs that know nothing of each other
cpu_over_one               CPU seconds of an image, against drawing alone; other work on the machine shows less in it
"""

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.engine import machine, offline, summary
from sdterm.api import Submission
from sdterm.client import Client, connect
from sdterm.core.settings.settings import resolve
from sdterm.events import Done, Failed
from sdterm.request import GenerationRequest


def drawn(client: Client, images: int, size: int, steps: int, spread: str) -> float:
    """Draw a job of so many images. Returns the seconds from asking until the last one is saved."""
    request = GenerationRequest.model_validate(
        {"prompt": "a lake", "seed": 1, "width": size, "height": size, "steps": steps, "spread": spread}
        | {"batch_count": images}
    )
    job = client.submit(Submission(request=request)).id
    began = 0.0
    for entry in client.events(job=job, after=0):
        began = began or entry.at
        if isinstance(entry.event, Failed):
            raise SystemExit(entry.event.message)
        if isinstance(entry.event, Done):
            return entry.at - began
    raise SystemExit("The host has ended.")


def cpu_seconds(client: Client) -> float:
    """Of the processes that draw."""
    pids = [worker.pid for worker in client.health().workers if worker.pid]
    return sum(times.user + times.system for times in (psutil.Process(pid).cpu_times() for pid in pids))


def measured(rounds: int, images: int, size: int, steps: int) -> dict[str, object]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        os.environ["OMP_NUM_THREADS"] = "1"

        def host(name: str, devices: str) -> Client:
            os.environ |= {"SDTERM_DATA": str(folder / name), "SDTERM_DEVICE": devices}  # the host reads them, too
            client = connect(resolve({}, os.environ))
            stack.callback(client.close)
            stack.callback(client.stop)
            return client

        both, *alone = host("both", "cpu,cpu"), host("one", "cpu"), host("other", "cpu")

        def used(client: Client, count: int, spread: str) -> tuple[float, float]:
            """Seconds and CPU seconds of a job."""
            before = cpu_seconds(client)
            seconds = drawn(client, count, size, steps, spread)
            return seconds, cpu_seconds(client) - before

        def apart() -> tuple[float, float]:
            with ThreadPoolExecutor(2) as pool:
                found = [*pool.map(lambda client: used(client, images, "off"), alone)]
            return max(seconds for seconds, _ in found), sum(cpu for _, cpu in found)

        candidates: dict[str, Callable[[], tuple[float, float]]] = {
            "one": lambda: used(alone[0], images, "off"),
            "two": lambda: used(both, 2 * images, "auto"),
            "apart": apart,
        }
        for candidate in candidates.values():
            candidate()  # loads the model
        for _ in range(2):  # the second one may come too late to help with the first job
            used(both, 2 * images, "auto")
        if not all(worker.model for worker in both.health().workers):
            raise SystemExit("One of the devices never drew.")
        turns = [
            {name: candidates[name]() for name in (candidates if turn % 2 else reversed(candidates))}
            for turn in range(rounds)
        ]
    return {
        "throughput_over_twice_one": summary(turn["one"][0] / turn["two"][0] for turn in turns),
        "throughput_over_apart": summary(turn["apart"][0] / turn["two"][0] for turn in turns),
        "cpu_over_one": summary(turn["two"][1] / turn["one"][1] / 2 for turn in turns),
        "seconds": {name: summary(turn[name][0] for turn in turns) for name in candidates},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    os.environ |= offline()
    facts = machine()
    results = measured(given.rounds, given.images, given.size, given.steps)
    print(json.dumps({"benchmark": "devices", **vars(given), "machine": facts, **results}))


if __name__ == "__main__":
    main()

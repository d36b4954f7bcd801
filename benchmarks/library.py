"""What the library of model files costs: `python -m benchmarks.library` prints one line of JSON.

first    ten thousand LoRAs are found and their headers read, against reading these headers with nothing else
again    the same by another process, from the cache, against asking the system for each file's size and time
lookup   one is found by its name
hash     a large file's two hashes, against `hashlib.file_digest` of it

Seconds, best of several; `ratio` is against the peer. Files lie in the page cache.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdterm.core.library.checkpoints import Library
from sdterm.core.library.hashes import hashes_of

FILES, FOLDERS = 10_000, 50
TENSORS = 60  # of each LoRA's header
LARGE = 512 * 2**20  # bytes

OTHER_PROCESS = """
import sys, time
from pathlib import Path
from sdterm.core.library.checkpoints import Library
library = Library(Path(sys.argv[1]))
began = time.perf_counter()
assert all(known["header"] for known in library.known(library.files("lora")))
print(time.perf_counter() - began)
"""


def make(root: Path) -> None:
    """LoRAs whose headers are as kohya's trainer writes them, with no weights behind."""
    tags = {f"tag number {number}": number for number in range(200)}
    metadata = {"ss_output_name": "ink", "ss_base_model_version": "sd_v1", "ss_tag_frequency": json.dumps(tags)}
    tensor = {"dtype": "F16", "shape": [0, 768], "data_offsets": [0, 0]}
    header = json.dumps(
        {"__metadata__": metadata, **{f"lora_unet_layer_{n}.lora_up.weight": tensor for n in range(TENSORS)}}
    )
    content = len(header).to_bytes(8, "little") + header.encode()
    for number in range(FILES):
        folder = root / "models" / "Lora" / str(number % FOLDERS)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"lora {number}.safetensors").write_bytes(content)


def walk(root: Path) -> None:
    for folder, _, names in os.walk(root / "models" / "Lora"):
        for name in names:
            os.stat(os.path.join(folder, name))


def read_headers(root: Path) -> None:
    for folder, _, names in os.walk(root / "models" / "Lora"):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                json.loads(file.read(int.from_bytes(file.read(8), "little")))


def first(root: Path) -> None:
    (root / "cache" / "hashes.json").unlink(missing_ok=True)
    library = Library(root)
    library.known(library.files("lora"))


def again(root: Path) -> float:
    done = subprocess.run([sys.executable, "-c", OTHER_PROCESS, str(root)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def whole(path: Path) -> None:
    with path.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def against(repeats: int, ours: Callable[[], float], peer: Callable[[], float]) -> dict[str, float]:
    """The best of both, taking turns."""
    found = [(ours(), peer()) for _ in range(repeats)]
    mine, theirs = (min(times) for times in zip(*found, strict=True))
    return {"seconds": round(mine, 3), "peer": round(theirs, 3), "ratio": round(mine / theirs, 2)}


def measure(root: Path, repeats: int) -> dict[str, Any]:
    make(root)
    large = root / "large.safetensors"
    large.write_bytes(bytes(8) + os.urandom(2**20) * (LARGE // 2**20))
    return {
        "first": against(repeats, lambda: seconds(lambda: first(root)), lambda: seconds(lambda: read_headers(root))),
        "again": against(repeats, lambda: again(root), lambda: seconds(lambda: walk(root))),
        "lookup": {
            "seconds": round(min(seconds(lambda: Library(root).file("lora", "lora 77")) for _ in range(repeats)), 3)
        },
        "hash": against(
            repeats, lambda: seconds(lambda: hashes_of(large, data=True)), lambda: seconds(lambda: whole(large))
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    machine = {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"benchmark": "models", "files": FILES, **machine, **measure(Path(folder), chosen.repeats)}))


if __name__ == "__main__":
    main()

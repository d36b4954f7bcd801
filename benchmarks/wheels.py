"""Wheels for a machine that has a torch of its own and no network: `python -m benchmarks.wheels FOLDER --python 3.12`.

Fetches what sdterm needs and such a machine lacks, torch and its libraries left out, in the versions of
requirements.txt. There: `python -m venv --system-site-packages ENV`, `ENV/bin/pip install --no-index --no-deps
FOLDER/*.whl`, and from the repository `ENV/bin/python -m benchmarks.gpu`.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from benchmarks.engine import ROOT

OF_TORCH = {"torch", "triton", "numpy", "sympy", "mpmath", "networkx", "setuptools"}
"""What a machine with torch has, and what must fit it."""


def wanted(requirements: str, there: set[str]) -> list[str]:
    """The lines of a requirements file that are to be fetched."""
    lines = [line.split("#")[0].strip() for line in requirements.splitlines()]
    named = {re.split(r"[=<>!~;\[ ]", line)[0].lower(): line for line in lines if line and not line.startswith("-")}
    return [line for name, line in named.items() if name not in there]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="of that machine [3.12]")
    parser.add_argument("--platform", default="manylinux_2_28_x86_64", help="[manylinux_2_28_x86_64]")
    parser.add_argument("--there", default="", metavar="NAMES", help="what that machine has besides torch (a,b)")
    parser.add_argument("--list", action="store_true", help="only say what would be fetched")
    given = parser.parse_args()
    there = OF_TORCH | {name.strip().lower() for name in given.there.split(",") if name.strip()}
    names = wanted((ROOT / "requirements.txt").read_text(encoding="utf-8"), there)
    if given.list:
        print("\n".join(names))
        return
    platforms = [given.platform, "manylinux2014_x86_64", "manylinux_2_17_x86_64"]
    where = [word for platform in platforms for word in ("--platform", platform)]
    how = ["--no-deps", "--only-binary=:all:", "--python-version", given.python, *where, "-d", str(given.folder)]
    done = subprocess.run([sys.executable, "-m", "pip", "download", *how, *names], check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()

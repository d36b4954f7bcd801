"""Try the workstation in real terminals: `python -m tools.terminals [NAME ...]`.

In each terminal the workstation shows a picture on several screens. A screenshot of each is kept, and the picture in
it is compared with the picture's file. Terminals that are not installed are skipped. All need Xvfb, foot needs sway,
and xterm.js needs Chromium and the folder that `npm install @xterm/xterm @xterm/addon-image` makes.

Newer terminals can be tried from a folder with another system, as debootstrap makes it, in which /dev, /proc and /tmp
are mounted and Python is installed: `--root FOLDER`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tools.terminals.programs import COLUMNS, ROWS, TERMINALS, XTERM_JS, missing
from tools.terminals.trial import data_folder, tried


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TERMINALS)}; all if none is named")
    parser.add_argument("--out", type=Path, help="where screenshots and bytes go")
    parser.add_argument("--size", default=f"{COLUMNS}x{ROWS}", help="columns and rows")
    parser.add_argument("--preview", default="auto", help="the setting of that name")
    parser.add_argument("--root", type=Path, default=Path("/"), help="the folder of another system to take them from")
    parser.add_argument("--xterm-js", type=Path, default=XTERM_JS, help="node_modules of xterm.js, or SDTERM_XTERM_JS")
    words = parser.parse_args()
    out = words.out or Path(tempfile.mkdtemp(prefix="terminals-"))
    out.mkdir(parents=True, exist_ok=True)
    columns, rows = map(int, words.size.split("x"))
    failed = 0
    with data_folder() as data:
        for name in words.names or TERMINALS:
            if why := missing(name, words.root, words.xterm_js):
                print(f"{name}: skipped, {why}")
                continue
            trial = tried(
                name,
                data,
                out,
                size=(columns, rows),
                settings={"preview": words.preview},
                root=words.root,
                xterm_js=words.xterm_js,
            )
            print(f"{name}: {trial.protocol}, {trial.size}")
            for seen in trial.seen:
                print(f"    {seen}", flush=True)
            failed += not trial.passed
    print(f"screenshots: {out}")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

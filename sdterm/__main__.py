"""`python -m sdterm` is `sdterm`."""

from sdterm.cli import main

main()

"""``python -m jaxlimit`` is the command line."""

from jaxlimit.cli import main

main()

"""`python -m reanimate`: the one place where the library looks up to the command line."""

from cli import main

main()

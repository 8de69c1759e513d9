"""Lets `python -m asyncdiff_runtime.cli` do what `asyncdiff` does."""

from asyncdiff_runtime.cli.main import main

if __name__ == "__main__":
    main()

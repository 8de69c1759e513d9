"""The `asyncdiff` command."""

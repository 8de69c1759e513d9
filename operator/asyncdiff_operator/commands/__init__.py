"""Commands for people who have a kubeconfig and nothing else; `asyncdiff` finds them as entry points."""

"""Job files: YAML as kubectl reads it, and what is to be said about each document of a file."""

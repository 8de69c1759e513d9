"""What runs in a pod and on a laptop: the engine, the batch runtime and the command line."""

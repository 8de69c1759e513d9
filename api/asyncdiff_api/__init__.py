"""The contract of AsyncDiffJob: the resource's models, its CRD, and every format that outlives a process."""

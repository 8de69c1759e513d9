"""How many shards a job has: asked by the operator when it makes the Indexed Job, and by every pod of it."""

from __future__ import annotations

from typing import Final

from asyncdiff_api.job import AsyncDiffJob

SHARDS_PER_POD: Final = 4
"""Several, so that a pod which is slower than the others leaves work to them."""


def shards_of(job: AsyncDiffJob) -> int:
    """Gives the number of shards, which is the Indexed Job's `completions`.

    `parallelism.shards` where it is set, else four for each pod, where there are prompts at most one for each
    item. Pods may be scaled later: whoever creates the Job writes the number into the document that the pods
    read.
    """
    parallelism, generate = job.spec.parallelism, job.spec.generate
    if parallelism.shards is not None:
        return parallelism.shards
    wanted = SHARDS_PER_POD * parallelism.pods
    if generate.prompts is None:
        return wanted
    return min(wanted, len(generate.prompts) * generate.seeds.count)

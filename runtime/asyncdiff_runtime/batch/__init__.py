"""Working off a job: worklist, ledger, generation, acceptance, upload and the finish step.

| module | what it holds |
| --- | --- |
| `worklist` | reading the lines of a shard, whole or by byte range |
| `record` | `job.json`: what a prefix holds, created once and obeyed |
| `ledger` | what is recorded of blocks, and recording more |
| `loop` | the work of one group of ranks on its blocks |
| `upload` | acceptance, encoding and upload beside the generation |
| `generator` | from items to pictures; `pipeline` does it with diffusers |
| `models`, `arguments` | where weights come from; what the pipeline is called with |
| `preflight` | what can be refused before a model is loaded |
| `launch`, `rank` | the processes of a shard: the one that starts ranks, and a rank |
| `finish` | manifest, gallery, `_SUCCESS` or `_FAILED` |
"""

"""Working off a job: worklist, ledger, generation, acceptance, upload and the finish step.

| module | what it holds |
| --- | --- |
| `worklist` | reading the lines of a shard, whole or by byte range |
| `record` | `job.json`: what a prefix holds, created once and obeyed |
| `ledger` | what is recorded of blocks, and recording more |
| `loop` | the work of one group of ranks on its blocks |
| `recorder`, `objects` | encoding, upload and the ledger beside the generation; acceptance |
| `generator` | from items to pictures; `pipeline` does it with diffusers |
| `models`, `arguments` | where weights come from; what the pipeline is called with |
| `preflight` | what can be refused before a model is loaded |
| `finished` | shards that need no model any more |
| `launch`, `rank` | the processes of a shard: the one that starts ranks, and a rank |
| `assignment` | what a rank is told, and what it says |
| `heartbeat`, `metering` | a rank's signs of life, and where its time goes |
| `watchdog`, `memory` | who has hung; what does not fit |
| `pod`, `mounts` | a pod's commands, and what they find around them |
| `reporting`, `throughput`, `metrics`, `serving`, `logs` | what a pod says of itself, and where |
| `finish` | manifest, gallery, `_SUCCESS` or `_FAILED` |
"""

"""Formats that outlive a process: frozen, versioned, and readable by older and newer minor versions.

| format | module | where it lives |
| --- | --- | --- |
| item identity | `identity`, `canonical` | in every item's key |
| worklist line | `worklist`, `lines`, `items` | the person's worklist |
| blocks and shards | `blocks`, `shards` | pinned in `job.json` |
| what a pod finds and leaves | `container` | the pod template |
| `job-record` | `job_record` | `job.json` |
| `block-manifest` | `manifest` | `manifest/` |
| `manifest`, `completion` | `manifest` | `manifest.json`, `_SUCCESS`, `_FAILED` |
| `progress` | `progress` | `/progress` of a running pod |
| `result` | `result` | a container's termination message |
| keys | `layout` | the output prefix |
| exit codes, errors, conditions | `exit_codes`, `errors`, `conditions` | containers, the Job, the status |
"""

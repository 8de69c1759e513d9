"""Manifests of a job's children: each is made once from the job and the defaults of the day."""

"""The status of a job: conditions, counts, speed, and what of it is remembered."""

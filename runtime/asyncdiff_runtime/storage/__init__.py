"""Where a job's objects lie: a folder or a bucket behind one interface with the same guarantees.

    storage = open_storage("s3://renders/posters/")
    storage.create("job.json", data)      # Creation.CREATED for one of any number of racing writers

Every write is whole or not there, `create` never replaces, and what was written is found by the next read
and the next listing. Keys are relative to the storage's own folder or prefix and use `/`.
"""

from asyncdiff_runtime.storage.folder import FolderStorage
from asyncdiff_runtime.storage.interface import (
    Creation,
    ObjectChangedError,
    ObjectMissingError,
    Stat,
    Storage,
)
from asyncdiff_runtime.storage.opening import open_address, open_output, open_storage

__all__ = [
    "Creation",
    "FolderStorage",
    "ObjectChangedError",
    "ObjectMissingError",
    "Stat",
    "Storage",
    "open_address",
    "open_output",
    "open_storage",
]

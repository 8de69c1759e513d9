"""Contents and digests of inputs by their addresses."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from asyncdiff_api.formats.errors import InputRefusedError, OutputRefusedError
from asyncdiff_api.output import Output

from asyncdiff_runtime.batch.inputs.https import HttpsReader
from asyncdiff_runtime.storage import ObjectChangedError, ObjectMissingError, Storage, open_storage

AT_ONCE: Final = 16
LIMIT_BYTES: Final[Mapping[str, int]] = {"video": 2**29}
"""Largest file by the input's name."""
PICTURE_BYTES: Final = 2**26
KEPT_BYTES: Final = 2**28
"""Contents over HTTPS that are kept: they are had for their digest, and a moment later for the picture."""
KEPT_DIGESTS: Final = 100_000


@dataclass(frozen=True)
class Addresses:
    """Asks for inputs. Threads may share one."""

    output: Output
    """Says how S3 is reached."""
    https: HttpsReader
    _storages: dict[str, Storage] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict, repr=False)
    _digests: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)

    def check(self, address: str) -> None:
        """Refuses an address that no attempt could have; asks nobody.

        Raises:
            InputRefusedError: Its host is not allowed.
        """
        if not address.startswith("s3://"):
            self.https.check(address)

    def digests(self, inputs: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Gives the digest of each address, several asked at once.

        Args:
            inputs: Name and address of each input.

        Returns:
            `etag:…` for S3 and `sha256:…` for HTTPS. `address:…` where the content cannot be had: the item
            needs a name, under which it is recorded as failed.

        Raises:
            OutageError: S3 was not reached.
        """
        named = {address: name for name, address in inputs}
        with self._lock:
            known = {address: self._digests[address] for address in named if address in self._digests}
        missing = [(name, address) for address, name in named.items() if address not in known]
        if not missing:
            return known
        with ThreadPoolExecutor(min(AT_ONCE, len(missing)), thread_name_prefix="digests") as pool:
            found = dict(pool.map(lambda one: (one[1], self._digest(*one)), missing))
        with self._lock:
            self._digests.update(found)
            while len(self._digests) > KEPT_DIGESTS:
                self._digests.popitem(last=False)
        return known | found

    def read(self, name: str, address: str, digest: str) -> bytes:
        """Gives the content of an input.

        Args:
            name: The input, such as `image`.
            address: Its address.
            digest: What `digests` gave for it.

        Raises:
            InputRefusedError: It cannot be had, is too large, or is another than it was.
            OutageError: S3 was not reached.
        """
        if not address.startswith("s3://"):
            data = self._kept_content(name, address)
            if digest != _sha256(data) and not digest.startswith("address:"):
                raise InputRefusedError(f"{address} was changed while the job ran; put it back")
            return data
        storage, key = self._place(address)
        etag = digest.removeprefix("etag:") if digest.startswith("etag:") else ""
        try:
            found = storage.stat(key)
            if found is None:
                raise InputRefusedError(
                    f"{address} does not exist; correct the address, or put the file there"
                )
            if found.size > LIMIT_BYTES.get(name, PICTURE_BYTES):
                raise InputRefusedError(
                    f"{address} has {found.size} bytes, and {LIMIT_BYTES.get(name, PICTURE_BYTES)} are the most "
                    "for this input; make it smaller"
                )
            if etag and found.etag.strip('"') != etag:
                raise InputRefusedError(f"{address} was changed while the job ran; put it back")
            return storage.read(key, if_match=found.etag)
        except (ObjectMissingError, ObjectChangedError) as error:
            raise InputRefusedError(
                f"{address} was changed while the job ran ({error}); put it back"
            ) from error
        except OutputRefusedError as error:
            raise InputRefusedError(f"{address} may not be read: {error}") from error

    def _digest(self, name: str, address: str) -> str:
        try:
            if not address.startswith("s3://"):
                return _sha256(self._kept_content(name, address))
            storage, key = self._place(address)
            found = storage.stat(key)
            if found is not None:
                return f"etag:{found.etag.strip(chr(34))}"
        except (InputRefusedError, OutputRefusedError):
            pass
        return f"address:{hashlib.sha256(address.encode()).hexdigest()}"

    def _kept_content(self, name: str, address: str) -> bytes:
        with self._lock:
            if address in self._kept:
                self._kept.move_to_end(address)
                return self._kept[address]
        data = self.https.read(address, LIMIT_BYTES.get(name, PICTURE_BYTES))
        with self._lock:
            self._kept[address] = data
            while sum(map(len, self._kept.values())) > KEPT_BYTES and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return data

    def _place(self, address: str) -> tuple[Storage, str]:
        """Gives the storage of an address's bucket, and its key there."""
        bucket, _, key = address.removeprefix("s3://").partition("/")
        with self._lock:
            if bucket not in self._storages:
                self._storages[bucket] = open_storage(f"s3://{bucket}/", self.output)
            return self._storages[bucket], key


def _sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"

"""versitygw over a folder of its own."""

from __future__ import annotations

import errno
import os
import subprocess
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.processes import ProcessError, ProcessFolder, free_port, wait_until
from support.tools import VERSITYGW, find_programs

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

PROGRAM = "versitygw"
REGION = "us-east-1"
HEALTH = "/health"


@dataclass(frozen=True)
class Account:
    """The pair of keys by which the server knows somebody."""

    access_key: str
    secret_key: str

    @classmethod
    def new(cls, name: str) -> Account:
        """Keys that nobody else has."""
        return cls(f"{name}-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex)


@dataclass(frozen=True)
class S3Server:
    """An S3 server on the loopback address.

    Attributes:
        processes: its folder and its process, named "versitygw".
        port: where it listens, the same after a restart.
        root: the account that may do all.
        binary: the program.
        host: the address it listens on.
    """

    processes: ProcessFolder
    port: int
    root: Account
    binary: Path
    host: str = "127.0.0.1"

    @classmethod
    def start(cls, host: str = "127.0.0.1") -> S3Server:
        """Starts a server without buckets and waits until it answers.

        Args:
            host: an address of this machine.

        Raises:
            BuildFailedError, GoUnavailableError: the program is not here and could not be built.
            ProcessError: it ended at once; the text has the end of its log.
        """
        binary = find_programs(VERSITYGW)[PROGRAM]
        server = cls(ProcessFolder.create("s3"), free_port(), Account.new("root"), binary, host)
        try:
            for folder in ("data", "metadata", "accounts"):
                (server.processes.path / folder).mkdir()
            server.run()
        except BaseException:
            server.close()
            raise
        return server

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://{self.host}:{self.port}"

    def run(self) -> None:
        """Starts the server, or starts it again on the same data and port, and waits until it answers."""
        address = [f"--port={self.host}:{self.port}", f"--health={HEALTH}", f"--region={REGION}"]
        keys = [f"--access={self.root.access_key}", f"--secret={self.root.secret_key}"]
        folder = self.processes.path
        backend = [
            f"--iam-dir={folder / 'accounts'}",
            "posix",
            *metadata_options(folder),
            str(folder / "data"),
        ]
        self.processes.start(PROGRAM, [self.binary, *address, *keys, *backend])
        wait_until(self._answers, what=f"the S3 server to answer; its log is {self.processes.log(PROGRAM)}")

    def stop(self) -> None:
        """Ends the server in good order; its data stays."""
        self.processes.stop(PROGRAM)

    def kill(self) -> None:
        """Ends the server with SIGKILL, requests under way and all; its data stays as it lies."""
        self.processes.kill(PROGRAM)

    def client(self, account: Account | None = None, **settings: Any) -> Any:
        """A boto3 client.

        Args:
            account: on whose behalf; default root.
            settings: other arguments of `boto3.client`; a `config` is merged into the one needed here.
        """
        import boto3
        from botocore.config import Config

        who = account or self.root
        config = Config(s3={"addressing_style": "path"}, signature_version="s3v4")
        merged = config.merge(settings.pop("config", Config()))
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=who.access_key,
            aws_secret_access_key=who.secret_key,
            config=merged,
            **settings,
        )

    def environment(self, account: Account | None = None) -> dict[str, str]:
        """The variables by which AWS SDKs find this server and an account's keys."""
        who = account or self.root
        return {
            "AWS_ACCESS_KEY_ID": who.access_key,
            "AWS_SECRET_ACCESS_KEY": who.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def bucket(self, prefix: str = "test") -> str:
        """Makes an empty bucket that belongs to root, and returns its name."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.client().create_bucket(Bucket=name)
        return name

    def add_account(self) -> Account:
        """Makes an account without any rights; a bucket policy can name its access key as principal."""
        account = Account.new("user")
        who = [
            "--access",
            self.root.access_key,
            "--secret",
            self.root.secret_key,
            "--endpoint-url",
            self.endpoint,
        ]
        keys = ["--access", account.access_key, "--secret", account.secret_key, "--role", "user"]
        command = [str(self.binary), "admin", *who, "create-user", *keys]
        subprocess.run(command, check=True, capture_output=True, text=True)
        return account

    def close(self) -> None:
        """Kills the server and removes its data."""
        self.processes.close()

    def __enter__(self) -> S3Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answers(self) -> bool:
        code = self.processes.exit_code(PROGRAM)
        if code is not None:
            raise ProcessError(
                f"{PROGRAM} ended with code {code}; its log:\n{self.processes.log_tail(PROGRAM)}"
            )
        try:
            with urllib.request.urlopen(self.endpoint + HEALTH) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def metadata_options(folder: Path) -> list[str]:
    """Where the server keeps metadata: in extended attributes, or in files where the disk knows none."""
    probe = folder / "data"
    try:
        os.setxattr(probe, "user.probe", b"")
        os.removexattr(probe, "user.probe")
    except OSError as error:
        if error.errno not in {errno.ENOTSUP, errno.EPERM}:
            raise
        return [f"--sidecar={folder / 'metadata'}"]
    return []

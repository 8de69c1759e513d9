"""The images that the node's pods run: built from the repository's Dockerfile on a base made with debootstrap.

No registry is asked for an image; what is slow to make is kept in the cache between runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from support.tools.cache import cache_folder, cached, lock

REPOSITORY = Path(__file__).parents[3]
BASE = "localhost/debian-base:bookworm"
OPERATOR = "localhost/asyncdiff-operator:e2e"
RUNTIME = "localhost/asyncdiff-runtime:e2e"
BASE_PACKAGES = ("python3", "ca-certificates")
ARCHIVE = "image.tar"
KEPT_LAYERS = 30
"""Layers of earlier builds that may stay in the cache; beyond that it begins anew."""
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
PASSED_ON = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CERT", "PIP_TRUSTED_HOST")

# torch alone is 6 GB, so the containers read this machine's environment where it lies; see `Runtime`.
THIN_RUNTIME = """\
FROM {base}
# Folders of this machine are mounted beneath, and any user may go through.
RUN mkdir --parents {folders} && chmod 755 /root
ENV PATH={venv}/bin:$PATH HOME=/tmp USER=asyncdiff LOGNAME=asyncdiff TMPDIR=/tmp PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["asyncdiff"]
"""


@dataclass(frozen=True)
class Runtime:
    """How the runtime's image is had, and what its containers need beside it.

    Attributes:
        build: builds it and gives its archive, put into the folder that it is given.
        mounts: folders of this machine that containers must be able to read, under the same paths.
    """

    build: Callable[[Path], Path]
    mounts: tuple[Path, ...] = ()

    @classmethod
    def wanted(cls) -> Runtime:
        """The image that `E2E_IMAGE` names: `thin`, the default, or `full`, as it is shipped."""
        match os.environ.get("E2E_IMAGE") or "thin":
            case "thin":
                return cls(partial(thin_runtime, mounts=environment()), environment())
            case "full":
                return cls(full_runtime)
        raise ValueError(f"E2E_IMAGE is {os.environ['E2E_IMAGE']!r}; say `thin` or `full`")


def environment() -> tuple[Path, ...]:
    """The virtual environment that these tests run in, the Python it was made from, and this repository."""
    own = (Path(sys.prefix), Path(sys.base_prefix), REPOSITORY)
    # a Debian's own Python is in the image too, and /usr must stay the image's
    return tuple(folder for folder in own if folder != Path("/usr"))


def hindrance() -> str:
    """Why pods could not read what the thin image lacks; empty if they can."""
    hidden = [str(folder) for folder in Runtime.wanted().mounts if Path("/tmp") in folder.parents]
    return f"pods have a /tmp of their own, which hides {hidden[0]}; clone elsewhere" if hidden else ""


def base() -> Path:
    """The archive of a small Debian with Python, on which both images are built."""
    name = f"image-debian-bookworm-{'-'.join(BASE_PACKAGES)}"
    return cached(name, make_base, lambda text: print(text, file=sys.stderr)) / ARCHIVE


def make_base(folder: Path) -> None:
    """Makes it: half a minute to three."""
    with tempfile.TemporaryDirectory(prefix="asyncdiff-base-") as root:
        packages = f"--include={','.join(BASE_PACKAGES)}"
        run("debootstrap", "--variant=minbase", packages, "bookworm", root)
        for litter in ("var/lib/apt/lists", "var/cache/apt", "usr/share/doc", "usr/share/man"):
            run("find", Path(root, litter), "-type", "f", "-delete")
        container = buildah("from", "scratch").strip()
        buildah("add", "--quiet", container, root, "/")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        buildah("config", "--env", path, "--cmd", '["/bin/sleep", "infinity"]', container)
        buildah("commit", "--quiet", "--rm", container, BASE)
    buildah("push", "--quiet", BASE, f"docker-archive:{folder / ARCHIVE}:{BASE}")


def operator(folder: Path) -> Path:
    """Builds the operator's image from the Dockerfile and gives its archive, put into `folder`."""
    return build(folder, OPERATOR, "--target=operator", f"--file={REPOSITORY / 'Dockerfile'}", REPOSITORY)


def full_runtime(folder: Path) -> Path:
    """Builds the runtime's image from the Dockerfile, torch and all."""
    return build(folder, RUNTIME, "--target=runtime", f"--file={REPOSITORY / 'Dockerfile'}", REPOSITORY)


def thin_runtime(folder: Path, mounts: tuple[Path, ...]) -> Path:
    """Builds an image of the runtime that holds no packages; they are read from what is mounted."""
    context = folder / "thin"
    context.mkdir()
    folders = " ".join(map(str, mounts))
    (context / "Dockerfile").write_text(THIN_RUNTIME.format(base=BASE, folders=folders, venv=sys.prefix))
    return build(folder, RUNTIME, context)


def build(folder: Path, name: str, *arguments: str | Path) -> Path:
    """Builds an image on the base and gives its archive; one build at a time, for the next may remove its layers."""
    archive = folder / f"{name.rpartition('/')[2].replace(':', '-')}.tar"
    base_archive = base()
    with lock(cache_folder() / ".images.lock", on_wait=lambda: None):
        buildah("rm", "--all")  # what builds that were killed have left, gigabytes each
        if BASE not in buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
            buildah("pull", "--quiet", f"docker-archive:{base_archive}")
        common = ["--quiet", "--isolation=chroot", "--pull-never", "--layers", f"--build-arg=BASE={BASE}"]
        buildah("bud", *common, *settings(), f"--tag={name}", *arguments)
        buildah("push", "--quiet", name, f"docker-archive:{archive}:{name}")
        if len(buildah("images", "--quiet", "--filter=dangling=true").split()) > KEPT_LAYERS:
            buildah("rmi", "--prune")
    return archive


def settings() -> list[str]:
    """What a build must know of this machine: where packages come from, and whom to trust on the way."""
    told = [f"--build-arg={key}={os.environ[key]}" for key in PASSED_ON if key in os.environ]
    if CERTIFICATES.exists():  # of proxies that read along, where there are any
        told.append(f"--volume={CERTIFICATES}:{CERTIFICATES}:ro")
    return told


def buildah(verb: str, *arguments: str | Path) -> str:
    """Runs buildah over a store of these tests' own, in the cache."""
    store = cache_folder() / "images"
    return run("buildah", f"--root={store}", "--storage-driver=overlay", verb, *arguments)


def run(*command: str | Path) -> str:
    """Runs a program and gives what it printed.

    Raises:
        RuntimeError: it failed; the text has the end of what it said.
    """
    words = [str(word) for word in command]
    result = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if result.returncode:
        said = "\n".join((result.stdout + result.stderr).splitlines()[-25:])
        raise RuntimeError(f"`{' '.join(words)}` ended with {result.returncode}:\n{said}")
    return result.stdout

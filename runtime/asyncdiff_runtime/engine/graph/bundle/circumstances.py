"""What compiled code holds for, besides what it was made from."""

import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path

import diffusers
import torch


def circumstances(device: torch.device, lowering: Mapping[str, object]) -> Mapping[str, str]:
    """Versions, device and options, by name; compiled code of equal ones can be used in place of each other.

    A CUDA device's number is among them, since compiled code names it.
    """
    return {
        "asyncdiff": _version("asyncdiff-operator"),
        "torch": f"{torch.__version__} {torch.version.git_version}",
        "triton": _version("triton"),
        "diffusers": diffusers.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": _device(device),
        "lowering": ", ".join(f"{name}={value}" for name, value in sorted(lowering.items())) or "usual",
        "inductor": _inductor_settings(),
    }


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        return f"{name} of capability {major}.{minor}, CUDA {torch.version.cuda}, number {device.index or 0}"
    # Code for a CPU is compiled for its very instructions, and for a number of threads.
    return f"{device.type} {_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    """Digest of the processor's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    said = sorted(
        {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    )
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _inductor_settings() -> str:
    """Digest of the compiler's settings, as environment variables leave them."""
    from torch._inductor import config  # slow, and needed only where something is compiled

    settings = json.dumps(
        config.save_config_portable(), sort_keys=True, default=lambda value: type(value).__name__
    )
    return hashlib.sha256(settings.encode()).hexdigest()[:16]

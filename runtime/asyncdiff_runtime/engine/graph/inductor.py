"""Parts compiled by torch's inductor, once for all processes that share a cache."""

import io
import logging
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, _inductor
from torch.fx import Node
from torch.utils import _pytree as pytree

from .bundle import Key, Store, circumstances, described
from .lowering import Lowered, eager
from .options import Lowering
from .parts import Part

logger = logging.getLogger(__name__)

_MODES: Final = {Lowering.INDUCTOR: "default", Lowering.MAX_AUTOTUNE: "max-autotune-no-cudagraphs"}
_COARSE: Final = frozenset({torch.bfloat16, torch.float16})
_FINE: Final = frozenset({torch.float32, torch.float64})
_ARTIFACT: Final = "artifact"
_FILES: Final = "files/"


@dataclass(frozen=True)
class Inductor:
    """Lowers parts by inductor, without Dynamo: a call checks no guards, and weights are inputs like others.

    What cannot be compiled runs eagerly, with a warning that names why.

    Attributes:
        how: kernels as inductor chooses them, or as measured.
        store: where compiled parts are kept, if anywhere. What is in it is run.
    """

    how: Lowering = Lowering.INDUCTOR
    store: Store | None = None
    options: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", _inductor.list_mode_options(_MODES[self.how]))

    def __call__(self, part: Part, examples: Sequence[Tensor]) -> Lowered:
        """A part compiled for values of the examples' forms."""
        if not examples or all(node.op in ("placeholder", "output") for node in part.module.graph.nodes):
            return eager(part, examples)
        plain = [example.detach() for example in examples]
        options = {**self.options, **_rounding(part)}
        key = self._key(part, plain, options)
        try:
            artifact = self._kept(key) or self._compiled(part, plain, options, key)
        except Exception as error:  # noqa: BLE001 -- inductor raises whatever its passes and compilers raise
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            logger.warning("A part of the denoiser cannot be compiled (%s); it runs eagerly.", reason)
            return eager(part, examples)
        return _with_strides(artifact, plain)

    def _key(self, part: Part, examples: Sequence[Tensor], options: Mapping[str, Any]) -> Key | None:
        subject = described(part.module, examples) if self.store is not None else None
        if subject is None:
            return None
        return Key("compiled", subject, circumstances(examples[0].device, options))

    def _kept(self, key: Key | None) -> Lowered | None:
        payload = self.store.get(key) if self.store is not None and key is not None else None
        if payload is None:
            return None
        try:
            return unpacked(payload)
        except Exception as error:  # noqa: BLE001 -- whatever an artifact of a patched torch raises
            logger.warning("The compiled part in the cache cannot be loaded (%s); made again.", error)
            return None

    def _compiled(
        self, part: Part, examples: Sequence[Tensor], options: Mapping[str, Any], key: Key | None
    ) -> Lowered:
        devices = sorted({each.device.index or 0 for each in examples if each.device.type == "cuda"})
        # Choosing kernels by measurement draws random numbers, which are not the pipeline's to miss.
        with torch.random.fork_rng(devices), torch.inference_mode(mode=False), torch.no_grad():
            artifact = _inductor.standalone_compile(
                part.module,
                list(examples),
                dynamic_shapes="from_example_inputs",
                options={"config_patches": dict(options)},
                aot=True,
            )
        if self.store is not None and key is not None:
            try:
                self.store.put(key, packed(artifact))
            except Exception as error:  # noqa: BLE001 -- whatever pickling raises
                logger.warning("A compiled part cannot be kept (%s).", error)
        return artifact


def _rounding(part: Part) -> Mapping[str, bool]:
    """Options by which a part rounds on its way as its operations do, where what it gives is finer than that.

    Fused operations leave out what is rounded to be widened again. Among low precision that only adds precision; in a
    denoiser of float32 that rounds its queries to bfloat16 (Kandinsky 5), it shows.
    """
    graph = part.module.graph
    given = {kind for node in graph.output_node().all_input_nodes for kind in _dtypes(node)}
    between = {kind for node in graph.nodes for kind in _dtypes(node)}
    rounds = bool(between & _COARSE) and bool(given & _FINE)
    return {"emulate_precision_casts": True} if rounds else {}


def _dtypes(node: Node) -> set[torch.dtype]:
    return {leaf.dtype for leaf in pytree.tree_leaves(node.meta.get("val")) if isinstance(leaf, Tensor)}


def packed(artifact: Any) -> bytes:
    """A compiled part with the files that it needs and does not hold itself."""
    made = io.BytesIO()
    root = _inductor_folder()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        path = Path(folder) / _ARTIFACT
        artifact.save(path=str(path))
        archive.write(path, _ARTIFACT)
        for file in sorted(_libraries(root)):
            archive.write(file, f"{_FILES}{file.relative_to(root)}")
    return made.getvalue()


def unpacked(payload: bytes) -> Lowered:
    """The compiled part of `packed`, loaded; its files go to inductor's folder, unless they are there."""
    from torch._inductor.standalone_compile import CompiledArtifact  # slow, and seldom needed

    root = _inductor_folder()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(io.BytesIO(payload)) as archive:
        for name in archive.namelist():
            if name.startswith(_FILES):
                _place(root / name.removeprefix(_FILES), archive.read(name))
        path = Path(archive.extract(_ARTIFACT, folder))
        with torch.inference_mode(mode=False), torch.no_grad():
            artifact: Lowered = CompiledArtifact.load(path=str(path))
    return artifact


def _inductor_folder() -> Path:
    from torch._inductor.runtime.cache_dir_utils import cache_dir  # slow, and seldom needed

    return Path(cache_dir())


def _libraries(root: Path) -> Iterator[Path]:
    """Libraries for the CPU that this process runs: artifacts name them and do not hold them.

    With them go inductor's proofs that the processor has their instructions, which take seconds each.
    """
    try:
        mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    except OSError:
        return
    loaded = [path for path in map(Path, mapped) if path.suffix == ".so" and path.is_relative_to(root)]
    yield from (path for path in loaded if path.is_file())
    if loaded:
        for proof in root.glob("*/*.so.load_ok"):
            yield proof
            yield proof.with_suffix("")


def _place(path: Path, data: bytes) -> None:
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    Path(unfinished).chmod(0o755)
    Path(unfinished).replace(path)


def _with_strides(artifact: Lowered, examples: Sequence[Tensor]) -> Lowered:
    """Compiled code reads memory as its examples lay in it; what lies otherwise is copied first."""
    strides = [example.stride() for example in examples]

    def call(*values: Tensor) -> tuple[Tensor, ...]:
        given = [
            value if value.stride() == stride else _laid_out(value, stride)
            for value, stride in zip(values, strides, strict=True)
        ]
        return tuple(artifact(*given))

    return call


def _laid_out(value: Tensor, stride: tuple[int, ...]) -> Tensor:
    if 0 in stride:  # expanded: only its first element along such a dimension has memory
        first = tuple(slice(0, 1) if step == 0 else slice(None) for step in stride)
        kept = torch.empty_strided(value[first].shape, stride, dtype=value.dtype, device=value.device)
        return kept.copy_(value[first]).expand(value.shape)
    return torch.empty_strided(value.shape, stride, dtype=value.dtype, device=value.device).copy_(value)

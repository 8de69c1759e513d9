"""From a request to its graph, by `torch.export` without Dynamo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from ..errors import CaptureRefused
from ..request import Request
from .arguments import refuse_objects
from .assumptions import Assumptions
from .blame import place_in, place_of
from .dependence import Dependence, dependences
from .host_values import HostValue
from .joint import Input, Joint, tensors_of

_VARYING: Final = {Dependence.EVALUATION: "timestep", Dependence.LATENT: "latent"}


@dataclass(frozen=True, eq=False)
class Captured:
    """An evaluation as a graph of ATen operations on values that have names.

    Attributes:
        graph: takes the weights, then the inputs, each as a placeholder, and gives the tensors of the output. Each
            node's `meta` has its value's form (`val`) and the modules that it came from (`nn_module_stack`).
        weights: parameters, buffers and constants by placeholder; the very tensors of the modules, not copies.
        paths: the weights' names in their modules, as `denoiser.conv_in.weight`, by placeholder.
        inputs: what each other placeholder is, in the order of `tensors_of(request)`.
        tree: structure of the output.
        assumptions: values of inputs for which alone it holds.
    """

    graph: GraphModule
    weights: Mapping[str, Tensor]
    paths: Mapping[str, str]
    inputs: Mapping[str, Input]
    tree: pytree.TreeSpec
    assumptions: Assumptions = field(default_factory=Assumptions)

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """The output by the graph's operations, one after the other, as the modules would do them."""
        return pytree.tree_unflatten(list(self.graph(*self.weights.values(), *tensors)), self.tree)

    def dependence_of(self, placeholder: Node) -> Dependence:
        """What a placeholder's value depends on."""
        known = self.inputs.get(placeholder.name)
        return Dependence.WEIGHTS if known is None else known.dependence


def capture(request: Request, noted: Sequence[HostValue] = ()) -> Captured:
    """The graph of a request: true for its shapes, dtypes and non-tensor arguments, and its modules as they are.

    Works on real tensors and under a `FakeTensorMode`, and evaluates nothing. Call it after the request has run
    once, so that tables which modules make at their first call are real ones.

    Args:
        request: what is asked of the denoiser.
        noted: what its modules took to the host when they ran; the graph holds where a request's tensors have these
            values.

    Raises:
        CaptureRefused: the modules do something that no graph can hold; the message names where.
    """
    refuse_objects(request)
    joint = Joint(request, noted)
    try:
        with torch.no_grad():
            program = torch.export.export(joint, _apart(tensors_of(request)), strict=False)
            if _has_vmap(program.graph_module):
                program = _without_vmap(program)
    except Exception as error:
        raise CaptureRefused.at(error, place_of(error, joint)) from error
    assert joint.structure.tree is not None
    told = _cut_off(program.graph_module, joint.structure.tree.num_leaves)
    _refuse_unknown_shapes(program.graph_module, joint)
    stored: dict[str, Tensor] = {**program.state_dict, **program.constants}
    weights, paths, inputs = {}, {}, iter(joint.inputs)
    given: dict[str, Input] = {}
    for spec in program.graph_signature.input_specs:
        name = spec.arg.name
        if spec.kind is InputKind.USER_INPUT:
            given[name] = next(inputs)
        else:
            assert spec.target is not None
            weights[name], paths[name] = stored[spec.target], spec.target
    captured = Captured(program.graph_module, weights, paths, given, joint.structure.tree)
    return replace(captured, assumptions=_assumptions(captured, told, joint))


def _apart(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The same tensors, each an object of its own: of two that are one, a graph would read only the one.

    They may be two at another request: the scales of two ControlNets, one of which has had its share of evaluations.
    """
    known: set[int] = set()
    apart = []
    for tensor in tensors:
        apart.append(tensor.detach() if id(tensor) in known else tensor)
        known.add(id(tensor))
    return tuple(apart)


def _has_vmap(module: GraphModule) -> bool:
    """Whether operations of a graph work on batches of tensors that `torch.vmap` shows one by one."""
    return any(
        getattr(node.target, "__name__", "") == "_vmap_increment_nesting" for node in module.graph.nodes
    )


def _without_vmap(program: ExportedProgram) -> ExportedProgram:
    """The same by operations on whole batches, each of which can be done by itself.

    Raises:
        ValueError: the modules write into their buffers, which the graph would give as outputs.
    """
    batched: ExportedProgram = program.run_decompositions({})
    if any(spec.kind is not OutputKind.USER_OUTPUT for spec in batched.graph_signature.output_specs):
        raise ValueError("it calls torch.vmap and writes into its buffers or arguments")
    return batched


def _cut_off(module: GraphModule, count: int) -> list[Node]:
    """Leaves a graph the first outputs alone, and gives the nodes of the others."""
    output = module.graph.output_node()
    (given,) = output.args
    assert isinstance(given, tuple | list)
    output.args = (tuple(given[:count]),)
    module.recompile()
    return [node for node in given[count:] if isinstance(node, Node)]


def _refuse_unknown_shapes(module: GraphModule, joint: Joint) -> None:
    """Makes sure that every size in a graph is a number.

    Raises:
        CaptureRefused: an operation gives as many elements as the values of its inputs say.
    """
    for node in module.graph.nodes:
        leaves = pytree.tree_leaves(node.meta.get("val"))
        sizes = [size for leaf in leaves for size in (leaf.shape if isinstance(leaf, Tensor) else [leaf])]
        if any(isinstance(size, torch.SymInt | torch.SymFloat | torch.SymBool) for size in sizes):
            raise CaptureRefused(
                f"The denoiser cannot be captured as a graph at {place_in(node, joint)}: the shape of what "
                f"{node.target} gives there depends on the values of its input."
            )


def _assumptions(captured: Captured, told: Sequence[Node], joint: Joint) -> Assumptions:
    """What the modules were told, where it can be another at another request.

    Raises:
        CaptureRefused: it can be another at each evaluation.
    """
    structure, classes = joint.structure, dependences(captured)
    assumed = {}
    for node, value, place in zip(told, structure.values, structure.places, strict=True):
        if classes[node] > Dependence.GENERATION:
            raise CaptureRefused(
                f"The denoiser cannot be captured as a graph at {place}: it goes by values that depend on the "
                f"{_VARYING[classes[node]]}, which are others at each evaluation."
            )
        if classes[node] is Dependence.GENERATION:
            assumed[node] = (value, place)
    return Assumptions.of(captured.graph.graph, assumed, captured.weights, tuple(captured.inputs))

"""From a request to its graph, by `torch.export` without Dynamo."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.export.graph_signature import InputKind
from torch.fx import GraphModule, Node
from torch.utils import _pytree as pytree

from ..errors import CaptureRefused
from ..request import Request
from .arguments import refuse_objects
from .blame import place_of
from .dependence import Dependence
from .joint import Input, Joint, tensors_of


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
    """

    graph: GraphModule
    weights: Mapping[str, Tensor]
    paths: Mapping[str, str]
    inputs: Mapping[str, Input]
    tree: pytree.TreeSpec

    def run(self, tensors: Sequence[Tensor]) -> Any:
        """The output by the graph's operations, one after the other, as the modules would do them."""
        return pytree.tree_unflatten(list(self.graph(*self.weights.values(), *tensors)), self.tree)

    def dependence_of(self, placeholder: Node) -> Dependence:
        """What a placeholder's value depends on."""
        known = self.inputs.get(placeholder.name)
        return Dependence.WEIGHTS if known is None else known.dependence


def capture(request: Request) -> Captured:
    """The graph of a request: true for its shapes, dtypes and non-tensor arguments, and its modules as they are.

    Works on real tensors and under a `FakeTensorMode`, and evaluates nothing. Call it after the request has run
    once, so that tables which modules make at their first call are real ones.

    Raises:
        CaptureRefused: the modules do something that no graph can hold; the message names where.
    """
    refuse_objects(request)
    joint = Joint(request)
    try:
        with torch.no_grad():
            program = torch.export.export(joint, tuple(tensors_of(request)), strict=False)
    except Exception as error:
        raise CaptureRefused.at(error, place_of(error, joint)) from error
    assert joint.structure.tree is not None
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
    return Captured(program.graph_module, weights, paths, given, joint.structure.tree)

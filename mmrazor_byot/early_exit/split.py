"""Cut a traced network into stages, one for each exit."""

import operator
from typing import Any, Iterable, List, NamedTuple, Optional, Set

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from mmrazor_byot.errors import ConfigError

SIZE = torch.ops.aten.sym_size.int


class Stage(NamedTuple):
    """What is run from one exit to the next.

    Attributes:
        trunk (GraphModule | None): From the state of the stage before to the next state and what
            the head needs, two tuples of tensors (N, ...). None for the deepest exit.
        head (GraphModule): From what the head needs (for the deepest exit, from the state) to
            logits (N, K).
    """

    trunk: Optional[GraphModule]
    head: GraphModule


def split_stages(traced: GraphModule) -> List[Stage]:
    """Cut a network so that each exit computes only what it adds.

    What an exit's logits depend on, and no exit before it, belongs to its stage: to the trunk, if
    deeper exits depend on it too, else to the head. What deeper stages need of it crosses the cut
    as the state.

    Args:
        traced (GraphModule): The graph of ``image -> (logits_1, ..., logits_C)`` without side
            effects, as torch.export makes it.

    Returns:
        list[Stage]: One for each exit.

    Raises:
        ConfigError: What crosses a cut has no batch dimension in front.
    """
    nodes = list(traced.graph.nodes)
    image = next(n for n in nodes if n.op == 'placeholder')
    *shallow, deepest = next(n for n in nodes if n.op == 'output').args[0]
    from_image = _depending_on(image)
    needs = [_ancestors([answer]) & from_image for answer in (*shallow, deepest)]
    state, done, stages = [image], {image}, []
    for number, answer in enumerate(shallow, start=1):
        deeper = set().union(*needs[number:])
        new = needs[number - 1] - done
        # A tuple does not cross a cut, its parts do.
        new |= {n for n in deeper if n.target is operator.getitem and n.args[0] in new}
        trunk, head = new & deeper, (new - deeper) | {answer}
        done |= new
        known = [n for n in nodes if n in trunk or n in state]
        state_after = _taken(known, deeper - done)
        head_inputs = _taken(known, head) or [answer]
        for node in state_after + head_inputs:
            _check_batch(node, image, number)
        trunk_outputs = tuple(state_after), tuple(head_inputs)
        stages.append(Stage(_cut(traced, state, trunk_outputs), _cut(traced, head_inputs, answer)))
        state = state_after
    return [*stages, Stage(None, _cut(traced, state, deepest))]


def _inputs(node: Node) -> List[Node]:
    """What a node is computed from; sizes are found anew, see _cut."""
    return [] if node.target is SIZE else node.all_input_nodes


def _ancestors(targets: Iterable[Node], stop: Iterable[Node] = ()) -> Set[Node]:
    found, waiting = set(), list(targets)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            if node not in stop:
                waiting.extend(_inputs(node))
    return found


def _depending_on(image: Node) -> Set[Node]:
    """The tensors computed from the image; all else costs nothing to copy."""
    found = {image}
    for node in image.graph.nodes:
        if not found.isdisjoint(_inputs(node)):
            found.add(node)
    return found


def _taken(known: List[Node], later: Set[Node]) -> List[Node]:
    """Those that later nodes take."""
    taken = {arg for node in later for arg in _inputs(node)}
    return [n for n in known if n in taken]


def _check_batch(node: Node, image: Node, number: int) -> None:
    value = node.meta.get('val')
    shape = tuple(value.shape) if isinstance(value, Tensor) else value
    # As text: a size of 2 would equal the symbol, as two images are traced.
    if not (
        isinstance(value, Tensor) and shape and str(shape[0]) == str(image.meta['val'].shape[0])
    ):
        raise ConfigError(
            f'the network cannot be cut after exit {number}: {node.name} crosses the cut with '
            f'shape {shape}; samples can leave only if their number is the first dimension'
        )


def _cut(traced: GraphModule, inputs: List[Node], outputs: Any) -> GraphModule:
    """The part of the graph from some nodes to others, as a module."""
    graph, copies = Graph(), {}
    for node in inputs:
        copies[node] = graph.placeholder(node.name)
        copies[node].meta = dict(node.meta)
    targets = torch.fx.node.map_arg(outputs, lambda n: n)
    flat = [targets] if isinstance(targets, Node) else [n for part in targets for n in part]
    needed = _ancestors(flat, stop=inputs)
    for node in traced.graph.nodes:
        if node not in needed or node in copies:
            continue
        if node.target is SIZE:  # samples may have left since
            copies[node] = graph.call_function(SIZE, (copies[inputs[0]], 0))
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(torch.fx.node.map_arg(outputs, copies.__getitem__))
    return GraphModule(traced, graph)

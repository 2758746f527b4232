"""Cut a traced network into stages, one for each exit."""

import operator
from typing import Any, Iterable, List, NamedTuple, Set

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

from mmrazor_byot.errors import ConfigError

SIZE = torch.ops.aten.sym_size.int


class Split(NamedTuple):
    """A network cut into one stage for each exit.

    Attributes:
        trunks (list[GraphModule]): For exit 1 to C - 1, from the state of the stage before to the
            next state and the inputs of the head, two tuples of tensors (N, ...).
        heads (list[GraphModule]): For exit 1 to C, from these inputs (for the deepest exit, from
            the state) to logits (N, K).
    """

    trunks: List[GraphModule]
    heads: List[GraphModule]


def split_stages(traced: GraphModule) -> Split:
    """Cut ``image -> (logits_1, ..., logits_C)`` so that each exit computes only what it adds.

    What an exit's logits depend on, but not those of an exit before it, belongs to its stage: to
    the trunk if deeper exits depend on it too, else to the head. What deeper stages need of it is
    the state. The graph must be without side effects, as made by torch.export.

    Raises:
        ConfigError: The first dimension of a tensor in the state is not the batch.
    """
    nodes = list(traced.graph.nodes)
    image = next(n for n in nodes if n.op == 'placeholder')
    *shallow, deepest = next(n for n in nodes if n.op == 'output').args[0]
    from_image = {image}  # every stage gets a copy of the other nodes
    for node in nodes:
        if not from_image.isdisjoint(_inputs(node)):
            from_image.add(node)
    needs = [_ancestors([answer]) & from_image for answer in (*shallow, deepest)]
    state, done = [image], {image}
    split = Split([], [])
    for number, answer in enumerate(shallow, start=1):
        deeper = set().union(*needs[number:])
        new = needs[number - 1] - done
        # A state has tensors, no tuples: take the parts of a tuple along.
        new |= {n for n in deeper if n.target is operator.getitem and n.args[0] in new}
        trunk, head = new & deeper, (new - deeper) | {answer}
        done |= new
        known = [n for n in nodes if n in trunk or n in state]
        state_after = _taken(known, deeper - done)
        head_inputs = _taken(known, head) or [answer]
        for node in state_after + head_inputs:
            _check_batch(node, image, number)
        split.trunks.append(_cut(traced, state, (tuple(state_after), tuple(head_inputs))))
        split.heads.append(_cut(traced, head_inputs, answer))
        state = state_after
    split.heads.append(_cut(traced, state, deepest))
    return split


def _inputs(node: Node) -> List[Node]:
    """The nodes that a node is computed from; _cut computes the batch size anew."""
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


def _taken(known: List[Node], later: Set[Node]) -> List[Node]:
    """The known nodes that are inputs of later ones."""
    taken = {arg for node in later for arg in _inputs(node)}
    return [n for n in known if n in taken]


def _check_batch(node: Node, image: Node, number: int) -> None:
    value = node.meta.get('val')
    shape = tuple(value.shape) if isinstance(value, Tensor) else value
    # As text: the symbol equals 2, as two images are traced.
    batch = str(image.meta['val'].shape[0])
    if not (isinstance(value, Tensor) and shape and str(shape[0]) == batch):
        raise ConfigError(
            f'the network cannot be cut after exit {number}: {node.name} crosses the cut with '
            f'shape {shape}; its first dimension must be the batch, so that samples can stop'
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
        if node.target is SIZE:  # some samples may have stopped
            copies[node] = graph.call_function(SIZE, (copies[inputs[0]], 0))
        else:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(torch.fx.node.map_arg(outputs, copies.__getitem__))
    return GraphModule(traced, graph)

"""A builder of ONNX graphs."""

from typing import Any, Iterator, List, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper
from onnx.helper import make_graph, make_node

from .stages import ExportedStage


class Graph:
    """Nodes and constants of one graph or branch.

    Args:
        names (Iterator[str]): Names that are unique in the whole model.
    """

    def __init__(self, names: Iterator[str]) -> None:
        self.names = names
        self.nodes: List[NodeProto] = []
        self.constants: List[TensorProto] = []

    def add(self, op: str, *inputs: str, outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Add a node, and return the name of its first output."""
        outputs = outputs or [next(self.names)]
        self.nodes.append(make_node(op, list(inputs), list(outputs), **attributes))
        return outputs[0]

    def add_many(self, op: str, count: int, *inputs: str, **attributes: Any) -> List[str]:
        """Add a node with ``count`` outputs, and return their names."""
        outputs = [next(self.names) for _ in range(count)]
        self.add(op, *inputs, outputs=outputs, **attributes)
        return outputs

    def constant(self, value: ArrayLike, dtype: type = np.int64) -> str:
        """Add a constant, and return its name."""
        name = next(self.names)
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def add_stage(self, stage: ExportedStage, state: Mapping[str, str]) -> None:
        """Add nodes and weights of a stage with short names, without the exporter's doc strings.

        Args:
            stage (ExportedStage): The stage; its outputs keep their names.
            state (dict): Names of its inputs to names in this graph.
        """
        source = stage.model.graph
        renamed = {'': '', **state, **{x.name: x.name for x in source.output}}
        for node in source.node:
            for name in (*node.input, *node.output):
                if name not in renamed:
                    renamed[name] = next(self.names)
            copied = NodeProto(op_type=node.op_type, domain=node.domain, attribute=node.attribute)
            copied.input.extend(renamed[name] for name in node.input)
            copied.output.extend(renamed[name] for name in node.output)
            self.nodes.append(copied)
        for array in source.initializer:
            if array.name in renamed:  # those of folded batch norms are unused
                name = renamed[array.name]
                self.constants.append(numpy_helper.from_array(numpy_helper.to_array(array), name))

    def proto(
        self, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
    ) -> GraphProto:
        """The graph as ONNX."""
        return make_graph(self.nodes, name, inputs, outputs, self.constants)

"""ONNX files that others have made, looked at before a runtime opens them: it takes whatever memory a file asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from dεps.errors import UserError
from dεps.exporting.card import ModelCard
from dεps.exporting.session import LARGEST_MODEL, read_content

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
#: fill memory by a size that a few bytes in the file name; no exported model needs them
SIZED = {"ConstantOfShape", "Range", "Expand", "Tile", "RandomNormal", "RandomUniform", "EyeLike", "OneHot"}


def read_model(path: Path) -> tuple[bytes, str, ModelCard]:
    """An image classifier's file, the name of its input, and its card; nothing of it is run.

    Raises `UserError` naming the file where it is none: another input than float32 images as the card says, another
    first output than numbers, weights in other files, of a size that the file does not hold, or not finite.
    """
    content = read_content(path)
    try:
        model = onnx.load_model_from_string(content)
        graph = model.graph
    except Exception as error:  # a damaged file can raise anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is no readable ONNX model ({reason}); 'deps export' writes such files") from None
    card = ModelCard.from_texts({entry.key: entry.value for entry in model.metadata_props}, path)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if len(inputs) != 1:
        raise UserError(f"{path} takes {len(inputs)} inputs; expected one, the images")
    wanted = ["batch", *card.shape]
    if not _takes(inputs[0], wanted):
        shape = "×".join(map(str, wanted))
        raise UserError(f"{path} does not take images as it says of itself; expected one float32 input {shape}")
    if not graph.output or graph.output[0].type.tensor_type.elem_type not in FLOATS:
        raise UserError(f"{path} does not give numbers; expected one of each class as its first output")
    for node in _nodes(graph):
        if node.op_type in SIZED:
            raise UserError(f"{path} holds a layer {node.op_type}, which no image classifier of this kind has")
    for tensor in _tensors(graph):
        _check(tensor, path)
    return content, inputs[0].name, card


def _takes(value: ValueInfoProto, wanted: list[str | int]) -> bool:
    """Whether an input is float32 of that shape; what the file leaves open fits, and the batch must be."""
    kind = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(sizes) != len(wanted):
        return False
    return sizes[0] is None and all(size in (None, own) for size, own in zip(sizes[1:], wanted[1:], strict=True))


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
            yield from (attribute.g, *attribute.graphs)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """Also those of graphs inside nodes; protobuf allows a hundred levels."""
    for node in graph.node:
        yield node
        for inner in _graphs(node):
            yield from _nodes(inner)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _own(attribute)
        for inner in _graphs(node):
            yield from _tensors(inner)


def _own(attribute: AttributeProto) -> Iterable[TensorProto]:
    if attribute.type == AttributeProto.TENSOR:
        return [attribute.t]
    return attribute.tensors if attribute.type == AttributeProto.TENSORS else []


def _check(tensor: TensorProto, path: Path) -> None:
    """Raise `UserError` where a tensor is not in the file as its size says, or not finite."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise UserError(f"{path} keeps '{tensor.name}' in another file; expected one that holds all its weights")
    size = int(np.prod([int(dim) for dim in tensor.dims], dtype=object))
    try:
        if not 0 <= size <= LARGEST_MODEL:
            raise ValueError("its size")
        values = numpy_helper.to_array(tensor)
    except Exception as error:  # of dimensions and data that contradict each other
        reason = " ".join(str(error).split())[:100]
        raise UserError(f"{path} is damaged: '{tensor.name}' is not as large as it says ({reason})") from None
    if tensor.data_type in FLOATS and not np.isfinite(values.astype(np.float64)).all():
        raise UserError(f"{path} cannot be used: '{tensor.name}' has numbers that are not finite")

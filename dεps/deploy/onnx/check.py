"""Checks ONNX files made by others before a runtime opens them, which would take whatever memory a file asks for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from dεps.core.errors import UserError, reason
from dεps.deploy.export.card import ModelCard
from dεps.deploy.onnx.session import LARGEST_MODEL, read_content, unreadable

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
#: operators of exported models, and those that optimisers, quantisers and other exporters turn them into; no loops, and
#: none with a result whose size a few bytes decide
LAYERS = (
    "Add AveragePool BatchNormalization Cast Clip Concat Constant Conv DequantizeLinear Div Dropout Flatten Gemm "
    "GlobalAveragePool HardSigmoid HardSwish Identity LogSoftmax MatMul Max MaxPool Min Mul QLinearConv QLinearMatMul "
    "QuantizeLinear ReduceMean Relu Reshape Sigmoid Softmax Squeeze Sub Transpose Unsqueeze"
)
#: numbers that a layer may make of one image; the stem makes that many of the largest image
LARGEST_RESULT = 2**26
#: numbers in a weight that may stand for a shape
LARGEST_SHAPE = 16


def read_model(path: Path) -> tuple[bytes, str, ModelCard]:
    """Bytes of an image classifier's file, the name of its input, and its card; nothing in it is run.

    Raises `UserError` naming the file where input or output are not as the card says, a layer is not among `LAYERS` or
    makes too much, or weights are in other files, shorter than they claim, or not finite.
    """
    content = read_content(path)
    try:
        graph = (model := onnx.load_model_from_string(content)).graph
    except Exception as error:
        raise unreadable(path, error) from None
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
    if model.functions:
        raise UserError(f"{path} defines layers of its own, which no image classifier of this kind does")
    known = LAYERS.split()
    for node in graph.node:
        if node.op_type not in known or node.domain not in ("", "ai.onnx"):
            raise UserError(f"{path} holds a layer {node.op_type}, which no image classifier of this kind has")
    for tensor in _tensors(graph):
        _check(tensor, path)
    _check_results(model, inputs[0].name, card, path)
    return content, inputs[0].name, card


def _takes(value: ValueInfoProto, wanted: list[str | int]) -> bool:
    """Whether an input is float32 of that shape; sizes that the file leaves open fit, and the batch must be open."""
    kind = value.type.tensor_type
    sizes = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if kind.elem_type != TensorProto.FLOAT or len(sizes) != len(wanted):
        return False
    return sizes[0] is None and all(size in (None, own) for size, own in zip(sizes[1:], wanted[1:], strict=True))


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from [attribute.t] if attribute.type == AttributeProto.TENSOR else attribute.tensors


def _check(tensor: TensorProto, path: Path) -> None:
    """Raise `UserError` where a tensor is in another file, shorter than it claims, or not finite."""
    if tensor.data_location == TensorProto.EXTERNAL:
        raise UserError(f"{path} keeps '{tensor.name}' in another file; expected one that holds all its weights")
    size = int(np.prod([int(dim) for dim in tensor.dims], dtype=object))
    try:
        if not 0 <= size <= LARGEST_MODEL:
            raise ValueError("its size")
        values = numpy_helper.to_array(tensor)
    except Exception as error:  # of dimensions and data that contradict each other
        why = reason(error, 100)
        raise UserError(f"{path} is damaged: '{tensor.name}' is not as large as it says ({why})") from None
    if tensor.data_type in FLOATS and not np.isfinite(values.astype(np.float64)).all():
        raise UserError(f"{path} cannot be used: '{tensor.name}' has numbers that are not finite")


def _check_results(model: ModelProto, images: str, card: ModelCard, path: Path) -> None:
    """Raise `UserError` where a layer makes too many numbers, or none knows how many; strips weights off `model`."""
    graph = model.graph
    # Only the sizes of weights matter, and copying them takes time; small ones may stand for a shape.
    large = [tensor for tensor in graph.initializer if math.prod(tensor.dims) > LARGEST_SHAPE]
    inputs = {images: (TensorProto.FLOAT, (1, *card.shape))} | {one.name: (one.data_type, one.dims) for one in large}
    for tensor in large:
        graph.initializer.remove(tensor)
    del graph.input[:]
    graph.input.extend(helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items())
    del graph.value_info[:]  # claims
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        found = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    except Exception as error:  # of layers that contradict each other
        raise unreadable(path, error) from None
    shapes = {value.name: value.type.tensor_type.shape for value in (*found.value_info, *found.output)}
    for node in graph.node:
        for name in filter(None, node.output):
            sizes = [dim.dim_value for dim in shapes[name].dim] if name in shapes else [0]
            # Python's integers, because a product in 64 bits can overflow.
            if not all(size > 0 for size in sizes) or math.prod(sizes) > LARGEST_RESULT:
                raise UserError(f"{path} is damaged: '{name}' would have an impossible size")

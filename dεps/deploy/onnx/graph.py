"""Writes a plain network as an ONNX graph.

Written layer by layer rather than traced: this takes milliseconds, so that every layer of a space can be measured in
ONNX Runtime too, and the same network gives the same bytes, without paths or stack traces. Torch's own layers are
known here; other modules write themselves (`dεps.nets.family.WritesOnnx`). Each batch normalisation is folded into the
convolution before it. A layer written wrongly would go unnoticed, so whoever makes a file of such a graph compares it
with PyTorch at once (`dεps.deploy.onnx.file`).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from dεps.core.errors import UserError
from dεps.nets.batchnorm import fold
from dεps.nets.family import WritesOnnx

#: the first with all operators used; runtimes since 2021 read it
OPSET, IR_VERSION = 14, 8
INPUT, OUTPUT = "images", "logits"


def to_onnx(net: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The graph of a plain network in eval mode, checked for form; on the CPU, in float32.

    Args:
        net: made of torch's layers and of modules that write themselves.
        shape: of one image (channels, height, width), or of whatever the network takes; the batch is free.

    Raises `UserError` naming a layer that cannot be written.
    """
    net = deepcopy(net).cpu().eval()
    fold(net)
    graph = GraphBuilder()
    graph.rename(graph.add(net, INPUT), OUTPUT)
    made = helper.make_graph(
        graph.nodes,
        "subnet",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)],
        graph.weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="dεps")
    model.ir_version = IR_VERSION
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    del model.graph.value_info[:]  # shapes inside the graph are of no use to readers
    onnx.checker.check_model(model)
    return model


class GraphBuilder:
    """Nodes and weights so far; a `dεps.nets.family.Graph`."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        #: by exact type: a subclass may compute something else
        self.writers: dict[type[nn.Module], Callable[[Any, str], str]] = {
            nn.Identity: lambda layer, x: x,
            nn.Sequential: self._sequential,
            nn.Conv2d: self._conv,
            nn.Linear: self._linear,
            nn.ReLU: lambda layer, x: self.node("Relu", x),
            nn.ReLU6: lambda layer, x: self.node("Clip", x, self.constant(0.0), self.constant(6.0)),
            # PyTorch's and ONNX's constants are the same, 1/6 and 1/2.
            nn.Hardswish: lambda layer, x: self.node("HardSwish", x),
            nn.Flatten: lambda layer, x: self.node("Flatten", x, axis=1),
            nn.MaxPool2d: self._max_pool,
            nn.AvgPool2d: self._average_pool,
            nn.AdaptiveAvgPool2d: self._adaptive_pool,
        }

    def add(self, layer: nn.Module, x: str) -> str:
        """Append a layer that reads the value `x`; the name of its result. Raises `UserError` where it is unknown."""
        if writer := self.writers.get(type(layer)):
            return writer(layer, x)
        if isinstance(layer, WritesOnnx):
            return layer.to_onnx(self, x)
        known = ", ".join(kind.__name__ for kind in self.writers)
        raise UserError(f"a layer {type(layer).__name__} cannot be written as ONNX; there is a form for: {known}")

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append one operator; the name of its result."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, tensor: Tensor | np.ndarray, role: str) -> str:
        """Append a weight in float32; its name."""
        values = tensor.detach().contiguous().numpy() if isinstance(tensor, Tensor) else tensor
        name = f"{role}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def constant(self, value: float) -> str:
        """Append a number as a weight of shape (1,); its name."""
        return self.weight(np.array([value], np.float32), "constant")

    def rename(self, old: str, new: str) -> None:
        """Give the value `old`, which the last node makes, another name."""
        if not self.nodes or self.nodes[-1].output[0] != old:
            old = self.node("Identity", old)
        self.nodes[-1].output[0] = new

    def _sequential(self, layers: nn.Sequential, x: str) -> str:
        for layer in layers:
            x = self.add(layer, x)
        return x

    def _conv(self, layer: nn.Conv2d, x: str) -> str:
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            how = f"{layer.padding!r}, {layer.padding_mode}"
            raise UserError(
                f"a convolution padded with {how} cannot be written as ONNX; expected zeros, so many a side"
            )
        inputs = [x, self.weight(layer.weight, "weight")]
        if layer.bias is not None:
            inputs.append(self.weight(layer.bias, "bias"))
        sides = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "dilations": layer.dilation}
        return self.node("Conv", *inputs, group=layer.groups, pads=[*layer.padding, *layer.padding], **sides)

    def _linear(self, layer: nn.Linear, x: str) -> str:
        return self.node("Gemm", x, self.weight(layer.weight, "weight"), self.weight(layer.bias, "bias"), transB=1)

    def _max_pool(self, layer: nn.MaxPool2d, x: str) -> str:
        sides = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        return self.node("MaxPool", x, pads=[layer.padding] * 4, ceil_mode=int(layer.ceil_mode), **sides)

    def _average_pool(self, layer: nn.AvgPool2d, x: str) -> str:
        # At the border both average over existing pixels only: there is no padding, and ceil_mode adds none.
        sides = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        return self.node("AveragePool", x, ceil_mode=int(layer.ceil_mode), **sides)

    def _adaptive_pool(self, layer: nn.AdaptiveAvgPool2d, x: str) -> str:
        if layer.output_size not in (1, (1, 1)):
            raise UserError(f"pooling to {layer.output_size} cannot be written as ONNX; there is a form for: 1")
        return self.node("GlobalAveragePool", x)

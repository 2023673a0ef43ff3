"""Writes a plain network as an ONNX graph.

Layer by layer rather than traced: this takes milliseconds, and the same network gives the same bytes. Modules that are
not torch's own write themselves. A layer written wrongly would go unnoticed, so `dεps.deploy.onnx.file` compares files.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import reduce
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

    The network takes items of that shape, as (channels, height, width), in a batch of any size. Raises `UserError`
    naming a layer that is neither one of torch's that are known here nor writes itself.
    """
    net = deepcopy(net).cpu().eval()
    fold(net)
    graph = GraphBuilder()
    graph.rename(graph.add(net, INPUT), OUTPUT)
    images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", *shape])
    logits = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, None)
    made = helper.make_graph(graph.nodes, "subnet", [images], [logits], graph.weights)
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
            nn.Sequential: lambda layers, x: reduce(lambda value, layer: self.add(layer, value), layers, x),
            nn.Conv2d: self._conv,
            nn.Linear: lambda layer, x: self.node(
                "Gemm", x, self.weight(layer.weight, "weight"), self.weight(layer.bias, "bias"), transB=1
            ),
            nn.ReLU: lambda layer, x: self.node("Relu", x),
            nn.ReLU6: lambda layer, x: self.node("Clip", x, self.constant(0.0), self.constant(6.0)),
            # PyTorch's and ONNX's constants are the same, 1/6 and 1/2.
            nn.Hardswish: lambda layer, x: self.node("HardSwish", x),
            nn.Flatten: lambda layer, x: self.node("Flatten", x, axis=1),
            nn.MaxPool2d: lambda layer, x: self._pool("MaxPool", layer, x, pads=[layer.padding] * 4),
            # At the border both average over existing pixels only: there is no padding, and ceil_mode adds none.
            nn.AvgPool2d: lambda layer, x: self._pool("AveragePool", layer, x),
            nn.AdaptiveAvgPool2d: self._adaptive_pool,
        }

    def add(self, layer: nn.Module, x: str) -> str:
        """Append a layer, as the protocol says. Raises `UserError` where it is unknown."""
        if writer := self.writers.get(type(layer)):
            return writer(layer, x)
        if isinstance(layer, WritesOnnx):
            return layer.to_onnx(self, x)
        known = ", ".join(kind.__name__ for kind in self.writers)
        raise UserError(f"a layer {type(layer).__name__} cannot be written as ONNX; there is a form for: {known}")

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, tensor: Tensor | np.ndarray, role: str) -> str:
        """Append a weight in float32; its name."""
        name, values = f"{role}_{len(self.weights)}", tensor.detach() if isinstance(tensor, Tensor) else tensor
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

    def _conv(self, layer: nn.Conv2d, x: str) -> str:
        if isinstance(layer.padding, str) or layer.padding_mode != "zeros":
            how = f"padded with {layer.padding!r}, {layer.padding_mode}"
            raise UserError(f"a convolution {how} cannot be written as ONNX; expected zeros, so many a side")
        inputs = [x, self.weight(layer.weight, "weight")]
        inputs += [] if layer.bias is None else [self.weight(layer.bias, "bias")]
        sides = {"kernel_shape": layer.kernel_size, "strides": layer.stride, "dilations": layer.dilation}
        return self.node("Conv", *inputs, group=layer.groups, pads=[*layer.padding, *layer.padding], **sides)

    def _pool(self, kind: str, layer: nn.MaxPool2d | nn.AvgPool2d, x: str, **pads: list[Any]) -> str:
        sides = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        return self.node(kind, x, ceil_mode=int(layer.ceil_mode), **sides, **pads)

    def _adaptive_pool(self, layer: nn.AdaptiveAvgPool2d, x: str) -> str:
        if layer.output_size not in (1, (1, 1)):
            raise UserError(f"pooling to {layer.output_size} cannot be written as ONNX; there is a form for: 1")
        return self.node("GlobalAveragePool", x)

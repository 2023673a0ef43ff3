"""A plain network as an ONNX graph.

Written layer by layer rather than traced: it takes milliseconds, so that a whole space's layers can be measured in
ONNX Runtime too, and the same network gives the same bytes, without paths or stack traces. Batch normalisation is
folded into the convolution before it. Whoever writes a file from such a graph compares it with PyTorch at once
(`dεps.deploy.onnx.file`), since a layer that is written wrongly would be silent.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dεps.core.errors import UserError
from dεps.nets.batchnorm import BatchNorm
from dεps.nets.extract import PlainNet
from dεps.nets.layers import PlainSqueezeExcite
from dεps.nets.mobilenet.network import PlainBlock, Pool
from dεps.nets.resnet.network import PlainBottleneck, Residual

#: the first with all operators used; runtimes since 2021 read it
OPSET, IR_VERSION = 14, 8
INPUT, OUTPUT = "images", "logits"


def to_onnx(net: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The graph of a plain network in eval mode, checked for form; on the CPU, in float32.

    Args:
        net: of the layers that an extracted subnet has.
        shape: of one image (channels, height, width), or whatever the network takes; the batch is free.

    Raises `UserError` naming a layer that has no counterpart here.
    """
    graph = _Graph()
    last = graph.add(_folded(net), INPUT)
    graph.rename(last, OUTPUT)
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
    del model.graph.value_info[:]  # what is inferred inside is of no use to readers
    onnx.checker.check_model(model)
    return model


def _folded(net: nn.Module) -> nn.Module:
    """A copy in which each convolution and the BN after it are one convolution."""
    net = deepcopy(net).cpu().eval()
    for layers in [module for module in net.modules() if isinstance(module, nn.Sequential)]:
        for number in range(1, len(layers)):
            if isinstance(layers[number], BatchNorm) and isinstance(layers[number - 1], nn.Conv2d):
                layers[number - 1] = fuse_conv_bn_eval(layers[number - 1], layers[number])
                layers[number] = nn.Identity()
    return net


class _Graph:
    """Nodes and weights so far. `add` appends a layer that reads the value `x`, and returns its result's name."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.writers: dict[type[nn.Module], Callable[[nn.Module, str], str]] = {
            nn.Identity: lambda layer, x: x,
            nn.Sequential: self._sequential,
            nn.Conv2d: self._conv,
            nn.Linear: self._linear,
            nn.ReLU: lambda layer, x: self.node("Relu", x),
            nn.ReLU6: lambda layer, x: self.node("Clip", x, self.constant(0.0), self.constant(6.0)),
            nn.Hardswish: lambda layer, x: self.node("HardSwish", x),
            nn.Flatten: lambda layer, x: self.node("Flatten", x, axis=1),
            nn.MaxPool2d: self._max_pool,
            nn.AvgPool2d: self._average_pool,
            nn.AdaptiveAvgPool2d: self._adaptive_pool,
            Pool: lambda layer, x: self.node("GlobalAveragePool", x),
            PlainNet: lambda layer, x: self.add(layer.classifier, self.add(layer.body, x)),
            PlainBlock: self._block,
            PlainBottleneck: lambda layer, x: self.node(
                "Relu", self.node("Add", self.add(layer.path, x), self.add(layer.shortcut, x))
            ),
            PlainSqueezeExcite: self._squeeze_excite,
            Residual: lambda layer, x: self.node("Add", x, self.add(layer.layers, x)),
        }

    def add(self, layer: nn.Module, x: str) -> str:
        writer = self.writers.get(type(layer))
        if writer is None:
            known = ", ".join(kind.__name__ for kind in self.writers)
            raise UserError(f"a layer {type(layer).__name__} cannot be written as ONNX; there is a form for: {known}")
        return writer(layer, x)

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        name = f"{kind}_{len(self.nodes)}"
        # HardSwish: PyTorch's and ONNX's constants are the same, 1/6 and 1/2.
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, tensor: Tensor | np.ndarray, role: str) -> str:
        values = tensor.detach().contiguous().numpy() if isinstance(tensor, Tensor) else tensor
        name = f"{role}_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def constant(self, value: float) -> str:
        return self.weight(np.float32(value).reshape(()), "constant")

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
        # At the border both count the pixels that exist only: there is no padding, and ceil_mode adds none of it.
        sides = {"kernel_shape": [layer.kernel_size] * 2, "strides": [layer.stride] * 2}
        return self.node("AveragePool", x, ceil_mode=int(layer.ceil_mode), **sides)

    def _adaptive_pool(self, layer: nn.AdaptiveAvgPool2d, x: str) -> str:
        if layer.output_size not in (1, (1, 1)):
            raise UserError(f"pooling to {layer.output_size} cannot be written as ONNX; there is a form for: 1")
        return self.node("GlobalAveragePool", x)

    def _block(self, layer: PlainBlock, x: str) -> str:
        y = self.add(layer.layers, x)
        return self.node("Add", x, y) if layer.skip else y

    def _squeeze_excite(self, layer: PlainSqueezeExcite, x: str) -> str:
        reduced = self.node("Relu", self.add(layer.reduce, self.node("GlobalAveragePool", x)))
        gate = self.node("HardSigmoid", self.add(layer.expand, reduced), alpha=1 / 6, beta=0.5)
        return self.node("Mul", x, gate)

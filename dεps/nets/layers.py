"""Elastic layers, of which every arch uses a slice; and the plain layers that an extracted arch is made of.

An elastic layer holds the largest weights. Each forward computes with the leading output and input channels, and the
middle of the kernel, that an arch asks for. Slices are views, so archs share their weights, and gradients add up:

    weight of a convolution                              its gradient after backward of A, then of B

         ← inputs →                                           ← inputs →
      ┌─────────┬──────────┐ ↑                             ┌─────────┬──────────┐
      │  A, B   │    B     │ outputs      A = w[:2, :2]    │  A + B  │    B     │
      ├─────────┘          │ ↓            B = w[:3, :5]    ├─────────┘          │
      │     B              │                               │     B              │
      ├────────────────────┤                               ├────────────────────┤
      │  neither           │                               │  exactly zero      │
      └────────────────────┘                               └────────────────────┘

Kernels shrink by centre crop, or with OFA's *kernel transformation* (arXiv 1908.09791, §3.1) by a learned linear map
of the crop. `plain` gives a slice as an ordinary torch layer with weights of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dεps.nets import operators
from dεps.nets.batchnorm import BatchNorm
from dεps.nets.family import Axis, Graph, SortableAxis

BN_MOMENTUM = 0.1
BN_EPS = 1e-5
BN_TENSORS = ("weight", "bias", "running_mean", "running_var")

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def activate(x: Tensor, act: str) -> Tensor:
    """Apply the named activation; ReLU and ReLU6 in place, because nothing else needs the output of a BN."""
    if act == "h_swish":
        return F.hardswish(x)
    return F.relu6(x, inplace=True) if act == "relu6" else F.relu(x, inplace=True)


def activation(act: str) -> nn.Module:
    """The named activation as a layer."""
    if act == "h_swish":
        return nn.Hardswish()
    return nn.ReLU6(inplace=True) if act == "relu6" else nn.ReLU(inplace=True)


# --- slices -----------------------------------------------------------------------------------------------------


@cache
def _expect_slices() -> None:
    """Silence torch's warning of gradients laid out unlike their parameter, as a slice of a larger gradient is."""
    warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")


class _Slice(NamedTuple):
    """A slice of a parameter that backward treats as a parameter of its own."""

    leaf: Tensor
    #: the parameter's gradient, of which the leaf's gradient is a view
    gradient: Tensor
    #: where the parameter's numbers were when the slice was made
    address: int


def slice_of(parameter: Tensor, *sizes: int) -> Tensor:
    """The first `sizes[0]` outputs and `sizes[1]` inputs, and the middle `sizes[2:]` of the kernel, as a view.

    Autograd would give an indexed parameter a gradient as large as the whole, zero outside the slice, and add all of
    it. Once the parameter has a gradient, as in training, this returns a leaf whose gradient is a view into that one:
    backward then adds to the slice alone.
    """
    # What is compiled is the full model, which uses parameters whole.
    if torch.compiler.is_compiling() or (gradient := parameter.grad) is None or not torch.is_grad_enabled():
        return _view(parameter, sizes)
    known: dict[tuple[int, ...], _Slice] = vars(parameter).setdefault("slices", {})
    own = known.get(sizes)
    if own is None or own.gradient is not gradient or own.address != parameter.data_ptr():
        leaf = _view(parameter, sizes)
        if leaf is not parameter:
            _expect_slices()
            leaf = leaf.detach().requires_grad_()
            leaf.grad = _view(gradient, sizes)
        own = known[sizes] = _Slice(leaf, gradient, parameter.data_ptr())
    return own.leaf


def _view(tensor: Tensor, sizes: tuple[int, ...]) -> Tensor:
    if sizes == tensor.shape[: len(sizes)]:
        return tensor
    starts = [0, 0, *((largest - size) // 2 for largest, size in zip(tensor.shape[2:], sizes[2:], strict=False))]
    return tensor[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=False))]


# --- elastic layers: `by_…` give what to permute with the channels that a layer reads (input), makes (output) or both


class ElasticConv(nn.Module):
    """Convolution of fixed kernel: first outputs of the first channels of x (batch, ≤ inputs, height, width)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        return F.conv2d(x, slice_of(self.weight, outputs, x.shape[1]), None, self.stride, self.padding)

    def plain(self, inputs: int, outputs: int) -> nn.Conv2d:
        """The slice as an ordinary layer."""
        return plain_conv(self.weight[:outputs, :inputs], stride=self.stride)

    def by_input(self) -> list[Axis]:
        return [(self.weight, 1)]

    def by_output(self) -> list[Axis]:
        return [(self.weight, 0)]


class _ElasticKernel(nn.Module):
    """Weight (outputs, inputs of a group, kernel, kernel) of the largest of `kernels`; the others are cut from it."""

    def __init__(self, outputs: int, inputs: int, kernels: list[int], stride: int, kernel_transform: bool) -> None:
        super().__init__()
        self.stride, self.kernels = stride, kernels
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernels[-1], kernels[-1]))
        # Each matrix maps the flattened centre crop of the next larger kernel; all channels share it.
        self.transforms = nn.ParameterDict(
            {f"to{small}": torch.eye(small * small) for small in kernels[:-1]} if kernel_transform else {}
        )

    def sliced(self, outputs: int, inputs: int, kernel: int) -> Tensor:
        """Weight (outputs, inputs, kernel, kernel), cropped and transformed."""
        if not self.transforms:
            return slice_of(self.weight, outputs, inputs, kernel, kernel)
        weight = slice_of(self.weight, outputs, inputs)
        for smaller in reversed([size for size in self.kernels[:-1] if size >= kernel]):
            crop = _view(weight, (outputs, inputs, smaller, smaller)).flatten(2)
            weight = F.linear(crop, self.transforms[f"to{smaller}"]).unflatten(2, (smaller, smaller))
        return weight


class ElasticDepthwise(_ElasticKernel):
    """Depthwise convolution of all channels of x (batch, ≤ channels, height, width), with one of `kernels`."""

    #: whether the code of `dεps.nets.operators` computes it, in training
    native = False

    def __init__(self, channels: int, kernels: list[int], stride: int, kernel_transform: bool) -> None:
        super().__init__(channels, 1, kernels, stride, kernel_transform)

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        channels = x.shape[1]
        weight = self.sliced(channels, 1, kernel)
        if self.native and self.training and operators.fits(x, weight):
            return operators.depthwise(x, weight, self.stride)
        return F.conv2d(x, weight, None, self.stride, kernel // 2, 1, channels)

    def plain(self, channels: int, kernel: int) -> nn.Conv2d:
        """The slice as an ordinary layer, its kernel transformed for good."""
        return plain_conv(self.sliced(channels, 1, kernel), stride=self.stride, groups=channels)

    def by_channel(self) -> list[Axis]:
        return [(self.weight, 0)]


class ElasticDense(_ElasticKernel):
    """Convolution with one of `kernels`: first outputs of the first channels of x (batch, ≤ inputs, height, width)."""

    def __init__(self, inputs: int, outputs: int, kernels: list[int], stride: int, kernel_transform: bool) -> None:
        super().__init__(outputs, inputs, kernels, stride, kernel_transform)

    def forward(self, x: Tensor, outputs: int, kernel: int) -> Tensor:
        return F.conv2d(x, self.sliced(outputs, x.shape[1], kernel), None, self.stride, kernel // 2)

    def plain(self, inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
        """The slice as an ordinary layer, its kernel transformed for good."""
        return plain_conv(self.sliced(outputs, inputs, kernel), stride=self.stride)

    def by_input(self) -> list[Axis]:
        return [(self.weight, 1)]

    def by_output(self) -> list[Axis]:
        return [(self.weight, 0)]


class ElasticBatchNorm(nn.Module):
    """Batch normalisation of x (batch, ≤ channels, height, width) by the first affine parameters and statistics.

    An activation after it is named in `forward`, so that both may be computed at once.
    """

    #: whether the code of `dεps.nets.operators` computes it, in training
    native = False
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, eps: float = BN_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor, act: str | None = None) -> Tensor:
        c = x.shape[1]
        tensors = self.running_mean[:c], self.running_var[:c], slice_of(self.weight, c), slice_of(self.bias, c)
        if self.native and self.training and operators.fits(x, self.weight):
            return operators.batch_norm(x, *tensors, BN_MOMENTUM, self.eps, act)
        y = F.batch_norm(x, *tensors, self.training, BN_MOMENTUM, self.eps)
        return activate(y, act) if act else y

    def plain(self, channels: int) -> BatchNorm:
        """The slice as an ordinary layer."""
        like = {"device": self.weight.device, "dtype": self.weight.dtype}
        layer = BatchNorm(channels, eps=self.eps, momentum=BN_MOMENTUM, **like)
        for name in BN_TENSORS:
            own = getattr(self, name)[:channels]
            if _SHARED.get() and isinstance(getattr(layer, name), nn.Parameter):
                setattr(layer, name, nn.Parameter(own.detach(), requires_grad=False))
            else:
                getattr(layer, name).copy_(own)
        return layer

    def by_channel(self) -> list[Axis]:
        return [(getattr(self, name), 0) for name in BN_TENSORS]


class ElasticConvBN(nn.Module):
    """Convolution of fixed kernel, BN and perhaps an activation over the first channels."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = ElasticConv(inputs, outputs, kernel, stride)
        self.bn = ElasticBatchNorm(outputs)

    def forward(self, x: Tensor, outputs: int, act: str | None = None) -> Tensor:
        return self.bn(self.conv(x, outputs), act)

    def plain(self, inputs: int, outputs: int) -> list[nn.Module]:
        """The slice as ordinary layers."""
        return [self.conv.plain(inputs, outputs), self.bn.plain(outputs)]

    def by_input(self) -> list[Axis]:
        return self.conv.by_input()

    def by_output(self) -> list[Axis]:
        return [*self.conv.by_output(), *self.bn.by_channel()]


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-and-excite of x (batch, ≤ channels, height, width): ReLU, then hard sigmoid, with biases."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce_weight = nn.Parameter(torch.empty(hidden, channels, 1, 1))
        self.reduce_bias = nn.Parameter(torch.empty(hidden))
        self.expand_weight = nn.Parameter(torch.empty(channels, hidden, 1, 1))
        self.expand_bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, hidden: int) -> Tensor:
        c = x.shape[1]
        squeezed = x.mean((2, 3), keepdim=True)
        reduced = F.conv2d(squeezed, slice_of(self.reduce_weight, hidden, c), slice_of(self.reduce_bias, hidden))
        gate = F.conv2d(F.relu(reduced), slice_of(self.expand_weight, c, hidden), slice_of(self.expand_bias, c))
        return x * F.hardsigmoid(gate)

    def plain(self, channels: int, hidden: int) -> PlainSqueezeExcite:
        """The slice as an ordinary layer."""
        return PlainSqueezeExcite(
            plain_conv(self.reduce_weight[:hidden, :channels], self.reduce_bias[:hidden]),
            plain_conv(self.expand_weight[:channels, :hidden], self.expand_bias[:channels]),
        )

    def by_channel(self) -> list[Axis]:
        return [(self.reduce_weight, 1), (self.expand_weight, 0), (self.expand_bias, 0)]

    def sortable(self) -> Iterator[SortableAxis]:
        """The hidden units, over their whole width as in the public code, whatever groups the channels are in."""
        hidden: list[Axis] = [(self.reduce_weight, 0), (self.reduce_bias, 0), (self.expand_weight, 1)]
        yield SortableAxis(self.expand_weight, [], hidden)


_SHARED: ContextVar[bool] = ContextVar("shared", default=False)


@contextmanager
def shared_weights() -> Iterator[None]:
    """Plain layers that are made inside hold views of the supernet's weights: no copies, and nothing to train.

    BN statistics stay each layer's own, and so do kernels that a transformation has made.
    """
    token = _SHARED.set(True)
    try:
        yield
    finally:
        _SHARED.reset(token)


# --- plain layers -----------------------------------------------------------------------------------------------


def plain_conv(weight: Tensor, bias: Tensor | None = None, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """An ordinary "same"-padded convolution with copies of `weight` and `bias`."""
    outputs, inputs, kernel, _ = weight.shape
    sizes = (inputs * groups, outputs, kernel, stride, kernel // 2, 1, groups)
    return filled(nn.Conv2d(*sizes, bias=bias is not None, device="meta"), weight, bias)


def filled(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """The layer with copies of `weight` and `bias`; made on the device "meta", where nothing is drawn at random."""
    if _SHARED.get():
        layer.weight = nn.Parameter(weight.detach(), requires_grad=False)
        if bias is not None:
            layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
        return layer
    layer.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


class Residual(nn.Module):
    """Layers in a row, with an identity beside them unless `skip` is false."""

    def __init__(self, *layers: nn.Module, skip: bool = True) -> None:
        super().__init__()
        self.layers, self.skip = nn.Sequential(*layers), skip

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.skip else y

    def to_onnx(self, graph: Graph, x: str) -> str:
        y = graph.add(self.layers, x)
        return graph.node("Add", x, y) if self.skip else y


class ReluResidual(nn.Module):
    """ReLU of the sum of a path and a shortcut."""

    def __init__(self, path: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.path, self.shortcut = path, shortcut

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.shortcut(x))

    def to_onnx(self, graph: Graph, x: str) -> str:
        return graph.node("Relu", graph.node("Add", graph.add(self.path, x), graph.add(self.shortcut, x)))


class Pool(nn.Module):
    """Global average (batch, channels, 1, 1) of x (batch, channels, height, width)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=True)

    def to_onnx(self, graph: Graph, x: str) -> str:
        return graph.node("GlobalAveragePool", x)


class PlainSqueezeExcite(nn.Module):
    """Squeeze-and-excite with ReLU and hard sigmoid, of fixed width."""

    def __init__(self, reduce: nn.Conv2d, expand: nn.Conv2d) -> None:
        super().__init__()
        self.reduce, self.expand = reduce, expand

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)

    def to_onnx(self, graph: Graph, x: str) -> str:
        reduced = graph.node("Relu", graph.add(self.reduce, graph.node("GlobalAveragePool", x)))
        gate = graph.node("HardSigmoid", graph.add(self.expand, reduced), alpha=1 / 6, beta=0.5)
        return graph.node("Mul", x, gate)

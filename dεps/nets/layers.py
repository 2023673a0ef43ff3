"""Elastic layers: each holds the largest weights and computes with the leading slice that an arch asks for.

Slices are views, so the gradient of everything outside the slice is exactly zero. Kernels are shrunk by centre crop,
or with OFA's *kernel transformation* (arXiv 1908.09791, §3.1) by a learned linear map of the crop. `plain` gives the
slice as an ordinary torch layer with weights of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dεps.nets.batchnorm import BatchNorm

BN_MOMENTUM = 0.1
BN_EPS = 1e-5

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


def activate(x: Tensor, act: str) -> Tensor:
    """Apply the named activation, in place: it always follows a BN, whose output nothing else needs."""
    if act == "h_swish":
        return F.hardswish(x)
    return F.relu6(x, inplace=True) if act == "relu6" else F.relu(x, inplace=True)


def activation(act: str) -> nn.Module:
    """The named activation as a layer."""
    if act == "h_swish":
        return nn.Hardswish()
    return nn.ReLU6(inplace=True) if act == "relu6" else nn.ReLU(inplace=True)


def plain_conv(weight: Tensor, bias: Tensor | None = None, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """An ordinary "same"-padded convolution with copies of `weight` and `bias`."""
    outputs, inputs, kernel, _ = weight.shape
    sizes = (inputs * groups, outputs, kernel, stride, kernel // 2, 1, groups)
    return filled(nn.Conv2d(*sizes, bias=bias is not None, device="meta"), weight, bias)


def filled(layer: Layer, weight: Tensor, bias: Tensor | None) -> Layer:
    """A layer made on the device "meta", where nothing is drawn at random, with copies of `weight` and `bias`."""
    layer.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach().clone())
    return layer


# That the gradient of a part is spread over the whole one is what `part` is for.
warnings.filterwarnings("ignore", message="grad and param do not obey the gradient layout contract")


class _Part(NamedTuple):
    """A part of a parameter that backward sees as a parameter of its own."""

    leaf: Tensor
    #: of which the leaf's gradient is a view
    gradient: Tensor
    #: where the parameter's numbers are
    address: int


def part(parameter: Tensor, *sizes: int) -> Tensor:
    """The first `sizes[0]` outputs, `sizes[1]` inputs, and the middle `sizes[2:]` of the kernel, as a view.

    Indexing would give a gradient as large as the whole parameter, zero elsewhere, to be added as a whole. Where the
    parameter has a gradient already, as in training, the part's is added to that part of it alone.
    """
    if torch.compiler.is_compiling():  # of the full model, which has whole parameters
        return _cut(parameter, sizes)
    gradient = parameter.grad
    if gradient is None or not torch.is_grad_enabled():
        return _cut(parameter, sizes)
    known: dict[tuple[int, ...], _Part] = parameter.__dict__.setdefault("parts", {})
    own = known.get(sizes)
    if own is None or own.gradient is not gradient or own.address != parameter.data_ptr():
        leaf = _cut(parameter, sizes)
        if leaf is not parameter:
            leaf = leaf.detach().requires_grad_()
            leaf.grad = _cut(gradient, sizes)  # a view: what backward adds to it, it adds to the parameter's
        own = known[sizes] = _Part(leaf, gradient, parameter.data_ptr())
    return own.leaf


def _cut(tensor: Tensor, sizes: tuple[int, ...]) -> Tensor:
    if sizes == tensor.shape[: len(sizes)]:
        return tensor
    leading = tuple(slice(size) for size in sizes[:2])
    return tensor[(*leading, *map(_middle, tensor.shape[2:], sizes[2:]))]


def _middle(largest: int, size: int) -> slice:
    start = (largest - size) // 2
    return slice(start, start + size)


class Stretch(NamedTuple):
    """A part of an arch's plain network; equal keys after equal stretches mean equal layers."""

    key: Hashable
    #: makes its layers; they leave their input as it is
    build: Callable[[], nn.Module]


class SortableAxis(NamedTuple):
    """Channels whose order is free, for `dεps.nets.sorting`."""

    #: the weight that reads the channels along dimension 1; its L1 norm per channel is their importance
    reader: Tensor
    #: borders of the groups that stay nested when several expand ratios shrink at once
    borders: list[int]
    #: every tensor to permute, with its dimension
    tensors: list[tuple[Tensor, int]]


class ElasticConv(nn.Module):
    """Convolution of fixed kernel over the first `inputs` channels to the first `outputs`."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.stride, self.padding = stride, kernel // 2
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        return F.conv2d(x, part(self.weight, outputs, x.shape[1]), None, self.stride, self.padding)

    def plain(self, inputs: int, outputs: int) -> nn.Conv2d:
        """The slice as an ordinary layer."""
        return plain_conv(self.weight[:outputs, :inputs], stride=self.stride)


class ElasticDepthwise(nn.Module):
    """Depthwise convolution over the first channels with any kernel out of `kernels`."""

    def __init__(self, channels: int, kernels: list[int], stride: int, kernel_transform: bool) -> None:
        super().__init__()
        self.stride = stride
        self.kernels = kernels
        self.weight = nn.Parameter(torch.empty(channels, 1, kernels[-1], kernels[-1]))
        # Each matrix maps a flattened centre crop of the next larger kernel; shared over channels.
        self.transforms = nn.ParameterDict(
            {f"to{small}": torch.eye(small * small) for small in kernels[:-1]} if kernel_transform else {}
        )

    def sliced(self, channels: int, kernel: int) -> Tensor:
        """Weight of shape (channels, 1, kernel, kernel)."""
        if not self.transforms:
            return part(self.weight, channels, 1, kernel, kernel)
        weight = part(self.weight, channels)
        for smaller in reversed([size for size in self.kernels[:-1] if size >= kernel]):
            crop = _cut(weight, (channels, 1, smaller, smaller)).flatten(1)
            weight = F.linear(crop, self.transforms[f"to{smaller}"]).view(-1, 1, smaller, smaller)
        return weight

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        channels = x.shape[1]
        return F.conv2d(x, self.sliced(channels, kernel), None, self.stride, kernel // 2, 1, channels)

    def plain(self, channels: int, kernel: int) -> nn.Conv2d:
        """The slice as an ordinary layer; a kernel transformation is applied for good."""
        return plain_conv(self.sliced(channels, kernel), stride=self.stride, groups=channels)


class ElasticBatchNorm(nn.Module):
    """Batch normalisation of the first channels; affine parameters and running statistics are sliced alike."""

    def __init__(self, channels: int, eps: float = BN_EPS) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        c = x.shape[1]
        return F.batch_norm(
            x,
            self.running_mean[:c],
            self.running_var[:c],
            part(self.weight, c),
            part(self.bias, c),
            self.training,
            BN_MOMENTUM,
            self.eps,
        )

    def plain(self, channels: int) -> BatchNorm:
        """The slice as an ordinary layer."""
        like = {"device": self.weight.device, "dtype": self.weight.dtype}
        layer = BatchNorm(channels, eps=self.eps, momentum=BN_MOMENTUM, **like)
        for name in ("weight", "bias", "running_mean", "running_var"):
            getattr(layer, name).copy_(getattr(self, name)[:channels])
        return layer

    def sortable(self) -> list[tuple[Tensor, int]]:
        """All that is permuted with the channels."""
        return [(tensor, 0) for tensor in (self.weight, self.bias, self.running_mean, self.running_var)]


class ElasticSqueezeExcite(nn.Module):
    """Squeeze-and-excite over the first channels: ReLU, then hard sigmoid, with biases."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.reduce_weight = nn.Parameter(torch.empty(hidden, channels, 1, 1))
        self.reduce_bias = nn.Parameter(torch.empty(hidden))
        self.expand_weight = nn.Parameter(torch.empty(channels, hidden, 1, 1))
        self.expand_bias = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor, hidden: int) -> Tensor:
        c = x.shape[1]
        squeezed = x.mean((2, 3), keepdim=True)
        reduced = F.conv2d(squeezed, part(self.reduce_weight, hidden, c), part(self.reduce_bias, hidden))
        gate = F.conv2d(F.relu(reduced), part(self.expand_weight, c, hidden), part(self.expand_bias, c))
        return x * F.hardsigmoid(gate)

    def plain(self, channels: int, hidden: int) -> PlainSqueezeExcite:
        """The slice as an ordinary layer."""
        return PlainSqueezeExcite(
            plain_conv(self.reduce_weight[:hidden, :channels], self.reduce_bias[:hidden]),
            plain_conv(self.expand_weight[:channels, :hidden], self.expand_bias[:channels]),
        )


class PlainSqueezeExcite(nn.Module):
    """Squeeze-and-excite with ReLU and hard sigmoid, of fixed width."""

    def __init__(self, reduce: nn.Conv2d, expand: nn.Conv2d) -> None:
        super().__init__()
        self.reduce, self.expand = reduce, expand

    def forward(self, x: Tensor) -> Tensor:
        gate = self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        return x * F.hardsigmoid(gate)

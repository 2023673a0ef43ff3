"""Elastic layers: each holds the largest weights and computes with the leading slice that an arch asks for.

Slices are views, so the gradient of everything outside the slice is exactly zero. Kernels are shrunk by centre crop,
or with OFA's *kernel transformation* (arXiv 1908.09791, §3.1) by a learned linear map of the crop.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BN_MOMENTUM = 0.1
BN_EPS = 1e-5


def activate(x: Tensor, act: str) -> Tensor:
    """Apply the named activation, in place: it always follows a BN, whose output nothing else needs."""
    if act == "h_swish":
        return F.hardswish(x)
    return F.relu6(x, inplace=True) if act == "relu6" else F.relu(x, inplace=True)


class ElasticConv(nn.Module):
    """1×1 convolution over the first `inputs` channels to the first `outputs`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 1, 1))

    def sliced(self, inputs: int, outputs: int) -> Tensor:
        """Weight of shape (outputs, inputs, 1, 1)."""
        return self.weight[:outputs, :inputs]

    def forward(self, x: Tensor, outputs: int) -> Tensor:
        return F.conv2d(x, self.sliced(x.shape[1], outputs))


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
        weight = self.weight[:channels]
        if not self.transforms:
            return _centre(weight, kernel)
        for smaller in reversed([size for size in self.kernels[:-1] if size >= kernel]):
            crop = _centre(weight, smaller).flatten(1)
            weight = F.linear(crop, self.transforms[f"to{smaller}"]).view(-1, 1, smaller, smaller)
        return weight

    def forward(self, x: Tensor, kernel: int) -> Tensor:
        channels = x.shape[1]
        return F.conv2d(x, self.sliced(channels, kernel), None, self.stride, kernel // 2, 1, channels)


def _centre(weight: Tensor, kernel: int) -> Tensor:
    start = (weight.shape[-1] - kernel) // 2
    return weight[..., start : start + kernel, start : start + kernel]


class ElasticBatchNorm(nn.Module):
    """Batch normalisation of the first channels; affine parameters and running statistics are sliced alike."""

    def __init__(self, channels: int) -> None:
        super().__init__()
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
            self.weight[:c],
            self.bias[:c],
            self.training,
            BN_MOMENTUM,
            BN_EPS,
        )


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
        squeezed = F.relu(F.conv2d(squeezed, self.reduce_weight[:hidden, :c], self.reduce_bias[:hidden]))
        gate = F.conv2d(squeezed, self.expand_weight[:c, :hidden], self.expand_bias[:c])
        return x * F.hardsigmoid(gate)

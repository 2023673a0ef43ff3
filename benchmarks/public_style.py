"""A supernet and its sandwich step as public code does them: the other side of a comparison, and nothing else.

Elastic modules that hold their active size as a state, cut contiguous copies of their weights in NCHW, and a step that
runs one subnet after the other, scales each one's gradients by a mask as large as the parameters, and adds them up in a
dictionary, as it does the masks (the training of DεpS, OFA and BigNAS in the code published with DεpS). Written for the
benchmark, for the MobileNet family with centre-cropped kernels.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dεps.methods.base import Term
from dεps.methods.losses import Targets
from dεps.nets.mobilenet.geometry import BlockSpec, Space
from dεps.spaces.space import Arch


class ActiveConv(nn.Module):
    """Convolution whose active input and output widths are attributes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        self.active = (outputs, inputs)

    def forward(self, x: Tensor) -> Tensor:
        self.active = (self.active[0], x.shape[1])
        weight = self.conv.weight[: self.active[0], : self.active[1]].contiguous()
        bias = None if self.conv.bias is None else self.conv.bias[: self.active[0]].contiguous()
        return F.conv2d(x, weight, bias, self.conv.stride, self.conv.padding)

    def regions(self) -> dict[str, tuple[slice, ...]]:
        """The active part of each parameter."""
        outputs, inputs = self.active
        own: dict[str, tuple[slice, ...]] = {"conv.weight": (slice(outputs), slice(inputs))}
        return own if self.conv.bias is None else own | {"conv.bias": (slice(outputs),)}


class ActiveDepthwise(nn.Module):
    """Depthwise convolution whose active kernel is an attribute."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)
        self.channels, self.kernel = channels, kernel

    def forward(self, x: Tensor) -> Tensor:
        self.channels = x.shape[1]
        rows = self._rows()
        weight = self.conv.weight[: self.channels, :, rows, rows].contiguous()
        return F.conv2d(x, weight, None, self.conv.stride, self.kernel // 2, 1, self.channels)

    def _rows(self) -> slice:
        start = (self.conv.kernel_size[0] - self.kernel) // 2
        return slice(start, start + self.kernel)

    def regions(self) -> dict[str, tuple[slice, ...]]:
        """The active part of each parameter."""
        return {"conv.weight": (slice(self.channels), slice(None), self._rows(), self._rows())}


class ActiveNorm(nn.Module):
    """Batch normalisation of as many channels as come in."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps)
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        self.channels, bn = x.shape[1], self.bn
        if self.channels == bn.num_features:
            return bn(x)
        bn.num_batches_tracked.add_(1)
        state = (bn.running_mean[: self.channels], bn.running_var[: self.channels])
        affine = (bn.weight[: self.channels], bn.bias[: self.channels])
        return F.batch_norm(x, *state, *affine, self.training, bn.momentum, bn.eps)

    def regions(self) -> dict[str, tuple[slice, ...]]:
        """The active part of each parameter."""
        return {"bn.weight": (slice(self.channels),), "bn.bias": (slice(self.channels),)}


class ActiveBlock(nn.Module):
    """Inverted bottleneck that runs as it was last told to."""

    def __init__(self, largest: BlockSpec, eps: float) -> None:
        super().__init__()
        self.spec = largest
        if largest.expansion:
            self.expand = ActiveConv(largest.inputs, largest.mid, 1)
            self.expand_bn = ActiveNorm(largest.mid, eps)
        self.depthwise = ActiveDepthwise(largest.mid, largest.kernel, largest.stride)
        self.depthwise_bn = ActiveNorm(largest.mid, eps)
        if largest.se:
            self.reduce = ActiveConv(largest.mid, largest.se, 1, bias=True)
            self.excite = ActiveConv(largest.se, largest.mid, 1, bias=True)
        self.project = ActiveConv(largest.mid, largest.outputs, 1)
        self.project_bn = ActiveNorm(largest.outputs, eps)

    def set_active(self, spec: BlockSpec) -> None:
        """Make this its size."""
        self.spec, self.depthwise.kernel = spec, spec.kernel
        if spec.expansion:
            self.expand.active = (spec.mid, spec.inputs)
        if spec.se:
            self.reduce.active, self.excite.active = (spec.se, spec.mid), (spec.mid, spec.se)
        self.project.active = (spec.outputs, spec.mid)

    def forward(self, x: Tensor) -> Tensor:
        y = x
        if self.spec.expansion:
            y = _activate(self.expand_bn(self.expand(y)), self.spec.act)
        y = _activate(self.depthwise_bn(self.depthwise(y)), self.spec.act)
        if self.spec.se:
            gate = self.excite(F.relu(self.reduce(y.mean((2, 3), keepdim=True))))
            y = y * F.hardsigmoid(gate)
        y = self.project_bn(self.project(y))
        return x + y if self.spec.skip else y


class PublicNet(nn.Module):
    """The supernet; `set_active` chooses the subnet that `forward` runs."""

    def __init__(self, space: Space, classes: int, channels: int) -> None:
        super().__init__()
        self.space = space
        specs = list(space.blocks(space.largest()))
        stem, head = space.stem, space.head
        self.stem = ActiveConv(channels, stem.width, 3, stem.stride)
        self.stem_bn = ActiveNorm(stem.width, space.bn_eps)
        self.blocks = nn.ModuleList(ActiveBlock(spec, space.bn_eps) for spec in specs)
        self.final = ActiveConv(specs[-1].outputs, head.expand, 1)
        self.final_bn = ActiveNorm(head.expand, space.bn_eps)
        self.mix = ActiveConv(head.expand, head.features, 1) if head.features else None
        self.classifier = nn.Linear(head.features or head.expand, classes)
        self.active = [block.place for block in specs]
        self.nothing = {name: torch.zeros_like(tensor) for name, tensor in self.state_dict().items()}

    def set_active(self, arch: Arch) -> None:
        """Choose the subnet."""
        specs = list(self.space.blocks(arch))
        self.active = [spec.place for spec in specs]
        for spec in specs:
            self.blocks[spec.place].set_active(spec)

    def forward(self, x: Tensor) -> Tensor:
        stem, head = self.space.stem, self.space.head
        x = _activate(self.stem_bn(self.stem(x)), stem.act)
        for index in self.active:
            x = self.blocks[index](x)
        x = _activate(self.final_bn(self.final(x)), head.act).mean((2, 3), keepdim=True)
        if self.mix is not None:
            x = _activate(self.mix(x), head.act)
        return self.classifier(x.flatten(1))

    def mask(self) -> dict[str, Tensor]:
        """Ones where the subnet that ran last has parameters, zeros elsewhere: as large as the state dict."""
        masks = copy.deepcopy(self.nothing)
        for name in ("classifier.weight", "classifier.bias"):
            masks[name].fill_(1.0)
        for prefix, module in self.named_modules():
            idle = prefix.startswith("blocks.") and int(prefix.split(".")[1]) not in self.active
            if hasattr(module, "regions") and not idle:
                for name, region in module.regions().items():
                    masks[f"{prefix}.{name}"][region] = 1.0
        return masks


class PublicStep:
    """One sandwich step: each subnet's gradients masked, weighted, and added up by name, and so the masks."""

    def __init__(self, net: PublicNet, learning_rate: float, weight_decay: float) -> None:
        self.net = net.train()
        groups = [[p for p in net.parameters() if p.dim() > 1], [p for p in net.parameters() if p.dim() == 1]]
        self.optimizer = torch.optim.SGD(
            [{"params": groups[0], "weight_decay": weight_decay}, {"params": groups[1], "weight_decay": 0.0}],
            lr=learning_rate,
            momentum=0.9,
            nesterov=True,
        )

    def __call__(self, images: Tensor, labels: Tensor, terms: Sequence[Term]) -> None:
        """Train the terms' archs on contiguous NCHW `images`."""
        targets, store, counts = Targets(labels), dict[str, Tensor](), dict[str, Tensor]()
        parameters = dict(self.net.named_parameters())
        self.net.zero_grad()
        for term in terms:
            self.net.set_active(term.arch)
            logits = self.net(images)
            if term.full:
                targets.full = logits.clone().detach()
            term.loss(logits, targets).backward()
            masks = self.net.mask()
            for name, parameter in parameters.items():
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                scaled = term.weight * gradient * masks[name]
                store[name] = store[name] + scaled if name in store else scaled
                share = term.weight * masks[name]  # what a mean would be divided by
                counts[name] = counts[name] + share if name in counts else share
            self.net.zero_grad()
        for name, parameter in parameters.items():
            parameter.grad = store[name].clone()
        self.optimizer.step()


def _activate(x: Tensor, act: str) -> Tensor:
    if act == "h_swish":
        return x * F.relu6(x + 3.0) / 6.0
    return F.relu6(x) if act == "relu6" else F.relu(x)

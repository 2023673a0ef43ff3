"""A supernet and its sandwich step as the code published with DεpS does them: the other side of a comparison.

Elastic modules hold their active size as a state and cut contiguous copies of their weights, in NCHW; other layers are
plain. A step runs one subnet after the other. For each it builds a mask as large as the state dict, and multiplies the
gradients of all parameters by mask and weight into a dictionary of sums, as it sums up the masks; the sums are then
copied back for the optimizer, which goes through the parameters one by one. `profile.md` says how near that is to the
published code itself. Written for the benchmark, for the MobileNet family with centre-cropped kernels.
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

#: a factor for narrower layers, by which weights are multiplied though it is always 1
SCALE = 1.0


class ElasticConv(nn.Module):
    """1×1 convolution whose active output width is an attribute, and whose input decides the other."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.outputs = outputs

    def forward(self, x: Tensor) -> Tensor:
        weight = (SCALE * self.conv.weight[: self.outputs, : x.shape[1]]).contiguous()
        return F.conv2d(x, weight)


class ElasticDepthwise(nn.Module):
    """Depthwise convolution whose active kernel is an attribute."""

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, stride, groups=channels, bias=False)
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        start = (self.conv.kernel_size[0] - self.kernel) // 2
        middle = slice(start, start + self.kernel)
        weight = (SCALE * self.conv.weight[: x.shape[1], :, middle, middle]).contiguous()
        return F.conv2d(x, weight, None, self.conv.stride, self.kernel // 2, 1, x.shape[1])


class ElasticNorm(nn.Module):
    """Batch normalisation of as many channels as come in."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        channels, bn = x.shape[1], self.bn
        if channels == bn.num_features:
            return bn(x)
        bn.num_batches_tracked.add_(1)
        state = (bn.running_mean[:channels], bn.running_var[:channels])
        return F.batch_norm(x, *state, bn.weight[:channels], bn.bias[:channels], self.training, bn.momentum, bn.eps)


class ElasticGate(nn.Module):
    """Squeeze-and-excite of as many channels as come in."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce, self.excite = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)
        self.squeezed = squeezed

    def forward(self, x: Tensor) -> Tensor:
        wide, narrow = x.shape[1], self.squeezed
        y = _pooled(x)
        y = F.conv2d(y, SCALE * self.reduce.weight[:narrow, :wide].contiguous(), SCALE * self.reduce.bias[:narrow])
        y = F.relu(y, inplace=True)
        y = F.conv2d(y, SCALE * self.excite.weight[:wide, :narrow].contiguous(), SCALE * self.excite.bias[:wide])
        return x * (F.relu6(y + 3.0, inplace=True) / 6.0)


class Activation(nn.Module):
    """An activation by name, in place where it can be."""

    def __init__(self, act: str) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        if self.act == "h_swish":
            return x * F.relu6(x + 3.0, inplace=True) / 6.0
        return F.relu6(x, inplace=True) if self.act == "relu6" else F.relu(x, inplace=True)


class ElasticBlock(nn.Module):
    """Inverted bottleneck that runs as it was last told to."""

    def __init__(self, largest: BlockSpec, eps: float) -> None:
        super().__init__()
        self.skip, self.mid = largest.skip, largest.mid
        parts: dict[str, nn.Module] = {}
        if largest.expansion:
            parts["expand"] = ElasticConv(largest.inputs, largest.mid)
            parts["expand_bn"] = ElasticNorm(largest.mid, eps)
            parts["expand_act"] = Activation(largest.act)
        parts["depthwise"] = ElasticDepthwise(largest.mid, largest.kernel, largest.stride)
        parts["depthwise_bn"] = ElasticNorm(largest.mid, eps)
        parts["depthwise_act"] = Activation(largest.act)
        if largest.se:
            parts["se"] = ElasticGate(largest.mid, largest.se)
        parts["project"] = ElasticConv(largest.mid, largest.outputs)
        parts["project_bn"] = ElasticNorm(largest.outputs, eps)
        self.parts = nn.ModuleDict(parts)

    def set_active(self, spec: BlockSpec) -> None:
        """Make this its size."""
        self.mid, self.parts["depthwise"].kernel = spec.mid, spec.kernel
        if spec.expansion:
            self.parts["expand"].outputs = spec.mid
        if spec.se:
            self.parts["se"].squeezed = spec.se

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for part in self.parts.values():
            y = part(y)
        return y + x if self.skip else y


class PublicNet(nn.Module):
    """The supernet; `set_active` chooses the subnet that `forward` runs."""

    def __init__(self, space: Space, classes: int, channels: int) -> None:
        super().__init__()
        self.space = space
        specs = list(space.blocks(space.largest()))
        stem, head, eps = space.stem, space.head, space.bn_eps
        self.stem = nn.Conv2d(channels, stem.width, 3, stem.stride, 1, bias=False)
        self.stem_bn, self.stem_act = nn.BatchNorm2d(stem.width, eps), Activation(stem.act)
        self.blocks = nn.ModuleList(ElasticBlock(spec, eps) for spec in specs)
        self.final = nn.Conv2d(specs[-1].outputs, head.expand, 1, bias=False)
        self.final_bn, self.act = nn.BatchNorm2d(head.expand, eps), Activation(head.act)
        self.mix = nn.Conv2d(head.expand, head.features, 1, bias=False) if head.features else None
        self.classifier = nn.Linear(head.features or head.expand, classes)
        self.active = [block.place for block in specs]
        self.nothing = {name: torch.zeros_like(tensor) for name, tensor in self.state_dict().items()}

    def set_active(self, arch: Arch) -> None:
        """Choose the subnet."""
        specs = list(self.space.blocks(arch))
        self.active = [spec.place for spec in specs]
        for spec in specs:
            self.blocks[spec.place].set_active(spec)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        x = self.stem_act(self.stem_bn(self.stem(x)))
        for index in self.active:
            x = self.blocks[index](x)
        x = _pooled(self.act(self.final_bn(self.final(x))))
        if self.mix is not None:
            x = self.act(self.mix(x))
        x = x.view(x.shape[0], -1)
        return self.classifier(F.dropout(x, dropout, inplace=True) if dropout else x)

    def mask(self) -> dict[str, Tensor]:
        """Ones where the active subnet has parameters, zeros elsewhere: as large as the state dict.

        As published, squeeze-and-excite and the kernel count as active at full size: gradients there are zero anyway.
        """
        masks = copy.deepcopy(self.nothing)
        for name in ("stem", "stem_bn", "final", "final_bn", "mix", "classifier"):
            if (module := getattr(self, name)) is not None:
                masks.update({f"{name}.{own}": torch.ones_like(value) for own, value in module.state_dict().items()})
        for index, block in enumerate(self.blocks):
            one = float(index in self.active)
            for name in block.state_dict():
                masks[f"blocks.{index}.{name}"].fill_(one)
        for index in self.active:
            prefix, mid = f"blocks.{index}.parts.", self.blocks[index].mid
            for name in ("expand.conv.weight", "expand_bn.bn.weight", "expand_bn.bn.bias"):
                if prefix + name in masks:
                    masks[prefix + name][mid:] = 0.0
            for name in ("depthwise.conv.weight", "depthwise_bn.bn.weight", "depthwise_bn.bn.bias"):
                masks[prefix + name][mid:] = 0.0
            masks[prefix + "project.conv.weight"][:, mid:] = 0.0
        return masks


class PublicStep:
    """One sandwich step: each subnet's gradients masked, weighted, and added up by name, and so the masks."""

    def __init__(self, net: PublicNet, learning_rate: float, weight_decay: float) -> None:
        self.net = net.train()
        decayed = [[p for p in net.parameters() if (p.dim() > 1) == decays] for decays in (True, False)]
        self.optimizer = torch.optim.SGD(
            [{"params": decayed[0], "weight_decay": weight_decay}, {"params": decayed[1], "weight_decay": 0.0}],
            lr=learning_rate,
            momentum=0.9,
            nesterov=True,
        )
        self.correct = [torch.zeros(1), torch.zeros(1)]

    def __call__(self, images: Tensor, labels: Tensor, terms: Sequence[Term]) -> None:
        """Train the terms' archs on contiguous NCHW `images`."""
        targets, sums, counts = Targets(labels), dict[str, Tensor](), dict[str, Tensor]()
        self._zero()
        for term in terms:
            self.net.set_active(term.arch)
            masks = self.net.mask()
            logits = self.net(images, term.dropout)
            if term.full:
                targets.full = logits.clone().detach()
            loss = term.loss(logits, targets)
            self._count(logits, labels)
            loss.backward()
            for name, parameter in self.net.named_parameters():
                share, part = term.weight * masks[name], term.weight * parameter.grad.data * masks[name]
                if name in sums:
                    counts[name] += share  # what a mean would be divided by
                    sums[name] += part
                else:
                    counts[name], sums[name] = share, part
            self._zero()
        for name, parameter in self.net.named_parameters():
            parameter.grad.data.copy_(sums[name])
        self.optimizer.step()

    def _zero(self) -> None:
        """Fill gradients with zeros, and make those of parameters that have none yet."""
        for parameter in self.net.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.net.zero_grad(set_to_none=False)

    def _count(self, logits: Tensor, labels: Tensor) -> None:
        """Add this subnet's top-1 and top-5 accuracies to the running sums."""
        ranked = logits.topk(min(5, logits.shape[1]), 1).indices
        hits = ranked == labels[:, None]
        for total, width in zip(self.correct, (1, 5), strict=True):
            total += hits[:, :width].float().sum() / len(labels)


def _pooled(x: Tensor) -> Tensor:
    """Mean over each channel's pixels (batch, channels, 1, 1)."""
    return x.mean(3, keepdim=True).mean(2, keepdim=True)

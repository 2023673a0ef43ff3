"""A family of networks is a folder here; these are the things that its modules say of themselves.

    dεps/nets/<family>/geometry.py   Space(SearchSpace): the choices, and the layers of an arch; without torch
                       network.py    Body: the modules, elastic and plain
                       public.py     names of public checkpoints; only where there are such
                       README.md     what each file is, and where the family comes from

Nothing outside the folder names a family: whatever needs one of its modules finds it by the folder's name. Which
channels may be sorted, which γ closes a residual and how a layer is written as ONNX is asked of the modules themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from torch import Tensor, nn

from dεps.spaces.space import Arch

#: a tensor, and its dimension along the channels in question
Axis = tuple[Tensor, int]


class Stretch(NamedTuple):
    """Consecutive layers of an extracted arch: its stem, a block, its head."""

    #: equal keys after equal stretches mean the same layers with the same weights
    key: Hashable
    #: makes the layers, with weights of their own; they must not change their input
    build: Callable[[], nn.Module]

    @property
    def kind(self) -> Hashable:
        """The key without the block's place in the supernet: equal kinds of equal inputs take equally long."""
        return cast(Any, self.key)._replace(place=0) if "place" in getattr(self.key, "_fields", ()) else self.key


class Body(Protocol):
    """A family's network without the classifier, made by `Body(space, channels, kernel_transform)`."""

    #: number of features that the largest arch gives
    features: int

    def __call__(self, x: Tensor, arch: Arch) -> Tensor:
        """Features (batch, features of `arch`) of images (batch, channels, height, width)."""
        ...

    def stretches(self, arch: Arch) -> Iterator[Stretch]:
        """The same as ordinary layers, in the order of computation."""
        ...


class SortableAxis(NamedTuple):
    """Channels whose order makes no difference to the full model; `dεps.nets.sorting` puts them in order."""

    #: the weight that reads the channels along dimension 1; its L1 norm per channel is their importance
    reader: Tensor
    #: borders between groups of channels that must not mix, because several expand ratios shrink at once
    borders: list[int]
    #: everything to permute
    tensors: list[Axis]


@runtime_checkable
class Sortable(Protocol):
    """A module with channels to sort."""

    def sortable(self) -> Iterator[SortableAxis]:
        """One axis after the other; each is sorted before the next one is asked for."""
        ...


@runtime_checkable
class HasShortcut(Protocol):
    """A block that may have a shortcut beside it."""

    def residual_scale(self) -> nn.Parameter | None:
        """γ of the last BN beside the shortcut: at zero the block is its shortcut alone. None without a shortcut."""
        ...


class Graph(Protocol):
    """An ONNX graph in the making. Values go by the name of the node that makes them."""

    def add(self, layer: nn.Module, x: str) -> str:
        """Append a layer that reads `x`, one of torch's own or a `WritesOnnx`; the value that it makes."""
        ...

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append one operator of ONNX; the value that it makes."""
        ...


@runtime_checkable
class WritesOnnx(Protocol):
    """A plain module that says itself how it is written as ONNX."""

    def to_onnx(self, graph: Graph, x: str) -> str:
        """Append what `forward` computes of `x`; the value that results."""
        ...

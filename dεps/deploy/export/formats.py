"""Exported subnets by format; of PyTorch's, torch.export's .pt2 and safetensors with all that rebuilds the network."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import torch
from torch import nn

from dεps.core.errors import UserError, reason
from dεps.core.schema import structured
from dεps.core.tensors import read_description, read_tensors, save_tensors
from dεps.deploy.export.card import ModelCard
from dεps.deploy.export.litert import save_litert
from dεps.deploy.onnx.file import Batches, Comparison, kept_if_same, save_onnx
from dεps.deploy.onnx.session import LARGEST_MODEL
from dεps.nets.extract import extract
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.space import Arch, SearchSpace

CARD = "card.json"
#: suffixes by the names of the formats
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "safetensors": ".safetensors", "litert": ".tflite"}
_WHAT, _CURE = "exported model", "'deps export --format safetensors' writes such files"


def save_model(
    format: str, net: nn.Module, space: SearchSpace, card: ModelCard, path: Path, images: Batches
) -> Comparison:
    """Write the plain network in the format of that name; compared with it, and kept or refused, as `kept_if_same`."""
    if format == "onnx":
        return save_onnx(net, card, path, images)
    if format == "litert":
        return save_litert(net, card, path, images)
    net = net.cpu().eval()

    def write(temporary: Path) -> nn.Module:
        if format == "torch":
            return _write_pt2(net, card, temporary)
        description = {**card.to_texts(), "space_definition": json.dumps(dataclasses.asdict(space))}
        save_tensors(net.state_dict(), temporary, ("model", description))
        return load_model(temporary)[0]

    return kept_if_same(path, write, net, images, "the file")


def _write_pt2(net: nn.Module, card: ModelCard, path: Path) -> nn.Module:
    """Write torch.export's form, and read it again, which is safe of this process's own file alone: it may run code."""
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    program = torch.export.export(net, (torch.zeros(2, *card.shape),), dynamic_shapes=shapes)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names this machine's folders
    program._example_inputs = None  # would be pickled
    with path.open("wb") as file:  # of a path it would want another suffix
        torch.export.save(program, file, extra_files={CARD: json.dumps(card.to_texts(), ensure_ascii=False)})
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.load(file).module()


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """The plain network of a .safetensors file, in eval mode. Raises `UserError` naming the file where it is none."""
    described = read_description(path, "model", _WHAT, _CURE)
    if not all(isinstance(text, str) for text in described.values()):
        raise UserError(f"{path} is no readable {_WHAT} (its metadata is no text); {_CURE}")
    card = ModelCard.from_texts(described, path)
    try:
        definition = json.loads(described["space_definition"])
    except (KeyError, ValueError, RecursionError):
        raise UserError(f"{path} is no readable {_WHAT} (it does not describe its space); {_CURE}") from None
    space, arch = structured(SearchSpace, definition, f"{path}: space"), Arch.parse(card.arch)
    if arch not in space:
        raise UserError(f"{path} is no readable {_WHAT} ({card.arch} is no arch of its space); {_CURE}")
    tensors = read_tensors(path, _WHAT, _CURE)
    # Before memory is taken for what a description may say.
    own, whole = (arch_cost(space, one, len(card.classes), card.channels).params for one in (arch, space.largest()))
    if own > sum(tensor.numel() for tensor in tensors.values()) or 4 * whole > LARGEST_MODEL:
        raise UserError(f"{path} does not fit its own metadata: that needs {own:,} weights of {whole:,}; {_CURE}")
    net = extract(Supernet(space, len(card.classes), card.channels), arch).eval()
    try:
        net.load_state_dict(tensors)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit its own metadata: {reason(error)}") from None
    return net, card

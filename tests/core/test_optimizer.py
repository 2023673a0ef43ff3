import subprocess
import sys

import pytest
import torch

from dεps.core import optimizer as optimizers
from tests.conftest import ROOT

OPTIONS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"lr": 0.1, "weight_decay": 0.01},
}


def trained(kind: type[torch.optim.Optimizer], options: dict[str, float]) -> torch.Tensor:
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 7))
    optimizer = kind([{"params": [weight], "weight_decay": options["weight_decay"]}], **options)
    for step in range(5):
        optimizer.zero_grad()
        (weight * (weight - step)).sum().backward()
        optimizer.step()
    return weight


@pytest.mark.parametrize("name", OPTIONS)
def test_they_are_torchs(name):
    own, torchs = (trained(getattr(module, name), OPTIONS[name]) for module in (optimizers, torch.optim))
    assert torch.equal(own, torchs)
    assert own.requires_grad and own.grad_fn is None


@pytest.mark.parametrize("name", OPTIONS)
def test_the_compiler_is_not_imported(name):
    """Fails where torch imports it in a new place, which costs each stage a second or two."""
    code = (
        "import sys, torch\n"
        f"from dεps.core.optimizer import {name}\n"
        "weight = torch.nn.Parameter(torch.ones(2))\n"
        f"optimizer = {name}([weight], lr=0.1)\n"
        "weight.sum().backward()\n"
        "optimizer.step()\n"
        "optimizer.zero_grad()\n"
        "sys.exit('torch._dynamo' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0

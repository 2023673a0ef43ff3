import torch

from dεps.training.precision import Numerics


def test_float32_is_left_alone():
    numerics = Numerics("float32", torch.device("cpu"))
    with numerics.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert numerics.state() == {}


def test_bf16_computes_low_and_keeps_weights():
    layer = torch.nn.Linear(4, 2)
    numerics = Numerics("bf16", torch.device("cpu"))
    with numerics.autocast():
        out = layer(torch.ones(1, 4))
    assert out.dtype == torch.bfloat16
    numerics.backward(out.float().sum())
    assert layer.weight.grad.dtype == torch.float32


def test_the_scale_of_fp16_is_kept_and_lowered_on_overflow():
    device = torch.device("cpu")
    numerics, weight = Numerics("fp16", device), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    numerics.backward(weight.sum())
    assert weight.grad.item() == 2.0**16
    numerics.step(optimizer)
    assert torch.allclose(weight, torch.tensor([0.9]))
    weight.grad = torch.tensor([float("inf")])
    numerics.scaler.scale(torch.ones(1))
    numerics.step(optimizer)
    assert torch.allclose(weight, torch.tensor([0.9]))
    other = Numerics("fp16", device)
    other.restore(numerics.state())
    assert other.scaler.get_scale() == numerics.scaler.get_scale() == 2.0**15


def test_a_scale_that_has_fallen_to_nothing_is_exhausted():
    numerics = Numerics("fp16", torch.device("cpu"))
    numerics.restore({"scaler": torch.tensor([2.0**-13, 0.0], dtype=torch.float64)})
    assert not numerics.exhausted
    numerics.restore({"scaler": torch.tensor([2.0**-14, 0.0], dtype=torch.float64)})
    assert numerics.exhausted
    assert not Numerics("float32", torch.device("cpu")).exhausted

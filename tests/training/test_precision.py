import torch

from dεps.training.precision import Precision


def test_float32_is_left_alone():
    precision = Precision("float32", torch.device("cpu"))
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert precision.state() == {}


def test_bf16_computes_low_and_keeps_weights():
    layer = torch.nn.Linear(4, 2)
    precision = Precision("bf16", torch.device("cpu"))
    with precision.autocast():
        out = layer(torch.ones(1, 4))
    assert out.dtype == torch.bfloat16
    precision.backward(out.float().sum())
    assert layer.weight.grad.dtype == torch.float32


def test_the_scale_of_fp16_is_kept_and_lowered_on_overflow():
    device = torch.device("cpu")
    precision, weight = Precision("fp16", device), torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    precision.backward(weight.sum())
    assert weight.grad.item() == 2.0**16
    precision.step(optimizer)
    assert torch.allclose(weight, torch.tensor([0.9]))
    weight.grad = torch.tensor([float("inf")])
    precision.scaler.scale(torch.ones(1))
    precision.step(optimizer)
    assert torch.allclose(weight, torch.tensor([0.9]))
    other = Precision("fp16", device)
    other.restore(precision.state())
    assert other.scaler.get_scale() == precision.scaler.get_scale() == 2.0**15


def test_a_scale_that_has_fallen_to_nothing_is_exhausted():
    precision = Precision("fp16", torch.device("cpu"))
    precision.restore({"scaler": torch.tensor([2.0**-13, 0.0], dtype=torch.float64)})
    assert not precision.exhausted
    precision.restore({"scaler": torch.tensor([2.0**-14, 0.0], dtype=torch.float64)})
    assert precision.exhausted
    assert not Precision("float32", torch.device("cpu")).exhausted


def test_gradients_are_cut_off_element_by_element():
    weight, other = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [weight]}, {"params": [other]}], lr=1.0)
    weight.grad, other.grad = torch.tensor([-7.0, 0.5, 1.5]), torch.tensor([2.0])
    precision = Precision("float32", torch.device("cpu"))
    precision.clip(optimizer, 1.0)
    precision.step(optimizer)
    assert weight.tolist() == [1.0, -0.5, -1.0]
    assert other.tolist() == [-1.0]


def test_in_fp16_the_limit_is_of_unscaled_gradients_and_overflows_are_still_skipped():
    precision, weight = Precision("fp16", torch.device("cpu")), torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    precision.backward((torch.tensor([3.0, 0.25]) * weight).sum())
    precision.clip(optimizer, 1.0)
    precision.step(optimizer)
    assert weight.tolist() == [-1.0, -0.25]
    weight.grad = torch.tensor([float("inf"), 1.0])
    precision.clip(optimizer, 1.0)
    precision.step(optimizer)
    assert weight.tolist() == [-1.0, -0.25]
    assert precision.scaler.get_scale() == 2.0**15

import logging

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from dεps.deploy.onnx.graph import INPUT, to_onnx
from dεps.deploy.onnx.int8 import quantised
from dεps.deploy.onnx.session import open_session


@pytest.fixture
def net() -> nn.Module:
    """One convolution of two channels, whose weights differ by a factor of 100."""
    conv = nn.Conv2d(1, 2, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -0.01]).reshape(2, 1, 1, 1))
    return nn.Sequential(conv, nn.Flatten())


def values(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_weights_are_quantised_channel_by_channel_in_seven_bits(net):
    model = quantised(to_onnx(net, (1, 1, 1)), [torch.tensor([-1.0, 3.0]).reshape(2, 1, 1, 1)])
    found = values(model)
    (weight,) = (value for name, value in found.items() if name.endswith("_quantized") and value.ndim == 4)
    assert weight.dtype == np.int8
    assert np.abs(weight.astype(int)).flatten().tolist() == [64, 64]
    (scales,) = (value for name, value in found.items() if name.endswith("_scale") and value.shape == (2,))
    np.testing.assert_allclose(scales, [1 / 64, 0.01 / 64], rtol=1e-6)


def test_activations_are_rounded_to_steps_of_what_images_reach(net):
    """−1 to 3 in 255 steps; what is outside is clipped. The second channel reaches −0.03 to 0.01 likewise."""
    model = quantised(to_onnx(net, (1, 1, 1)), [torch.tensor([-1.0, 3.0]).reshape(2, 1, 1, 1)])
    images = np.array([-1.0, 0.0, 0.3, 3.0, 9.0], np.float32).reshape(-1, 1, 1, 1)
    logits = np.asarray(open_session(model.SerializeToString()).run(None, {INPUT: images})[0])
    step = 4 / 255
    rounded = np.clip(np.round(images.flatten() / step), -64, 191) * step
    np.testing.assert_allclose(logits[:, 0], rounded, atol=step / 2 + 1e-6)
    assert logits[-1, 0] == logits[-2, 0] == pytest.approx(3.0, abs=step)


def test_the_same_images_give_the_same_bytes_and_the_float_model_stays(net):
    images = torch.linspace(-1, 1, 8).reshape(8, 1, 1, 1)
    model = to_onnx(net, (1, 1, 1))
    before = model.SerializeToString(deterministic=True)
    first, second = (quantised(model, iter(images.split(4))).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert model.SerializeToString(deterministic=True) == before
    assert quantised(model, [2 * images]).SerializeToString(deterministic=True) != first


def test_the_quantiser_says_nothing_and_logging_stays_as_it_was(net, caplog):
    quantised(to_onnx(net, (1, 1, 1)), [torch.ones(1, 1, 1, 1)])
    assert not caplog.records
    assert logging.root.manager.disable == logging.NOTSET

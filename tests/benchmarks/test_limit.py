import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.limit import Products, _kind, against_products
from benchmarks.report import line, markdown
from benchmarks.step import terms_of
from benchmarks.toys import sandwich_trainer
from dεps.spaces.cost import arch_cost


def test_the_products_are_the_multiplications_of_a_step():
    trainer, *_ = sandwich_trainer("mbv3_micro", 8)
    products = Products(trainer, 8)
    macs = sum(arch_cost(trainer.space, term.arch, 10, 1).macs for term in terms_of(trainer))
    # A depthwise layer counts in whole rows of a square product.
    assert sum(math.prod(shape) for shape in products.shapes) == pytest.approx(8 * macs, rel=0.03)


def test_a_product_is_the_one_of_its_layer():
    trainer, *_ = sandwich_trainer("mbv3_micro", 2)
    products = Products(trainer, 2)
    x, weight, y = products.tensors((2, 3, 4, 5))
    assert (x.shape, weight.shape, y.shape) == ((2, 4, 3, 1), (5, 4, 1, 1), (2, 5, 3, 1))
    assert x.is_contiguous(memory_format=torch.channels_last)
    found = torch.nn.functional.conv2d(x, weight).permute(0, 2, 3, 1).reshape(6, 5)
    torch.testing.assert_close(found, x.permute(0, 2, 3, 1).reshape(6, 4) @ weight.view(5, 4).T)
    with FlopCounterMode(display=False) as counter:
        products()
    assert counter.get_total_flops() == 3 * 2 * sum(math.prod(shape) for shape in products.shapes)


@pytest.mark.parametrize(
    ("operator", "shapes", "kind"),
    [
        ("aten::convolution_backward", [[8, 96, 7, 7], [8, 96, 7, 7], [96, 1, 5, 5]], "depthwise convolutions"),
        ("aten::convolution_backward", [[8, 24, 7, 7], [8, 96, 7, 7], [24, 96, 1, 1]], "dense convolutions"),
        ("aten::mkldnn_convolution", [[8, 96, 7, 7], [96, 1, 5, 5], []], "depthwise convolutions"),
        ("aten::mkldnn_convolution", [[8, 1, 7, 7], [1, 1, 5, 5], []], "dense convolutions"),
        ("aten::native_batch_norm_backward", [[8, 96, 7, 7]], "batch norm"),
        ("aten::addmm", [], "dense convolutions"),
        ("aten::hardswish_backward", [], "activations"),
        ("aten::empty", [], "the rest"),
    ],
)
def test_operators_are_told_apart(operator, shapes, kind):
    assert _kind(operator, shapes) == kind


def test_the_row_says_the_share_and_asks_for_nothing(tmp_path):
    found = against_products("mbv3_micro", 4, 1)
    assert "% of that speed; of its time" in found.note
    assert "depthwise convolutions" in found.note
    assert line(found).endswith("(wanted: –)")
    assert markdown([found], [], tmp_path / "none.svg").strip().endswith("| – |  |")

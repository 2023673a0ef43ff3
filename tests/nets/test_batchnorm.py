import pytest
import torch
from torch import Generator, nn

from dεps.data.batches import Normalise, plain_batches
from dεps.data.config import AugmentConfig
from dεps.evaluation.accuracy import Recalibration, recalibrated
from dεps.nets.batchnorm import Moments, batch_norms, recalibrate, settle
from dεps.nets.extract import PlainNet, extract
from dεps.nets.supernet import Supernet
from tests.conftest import load_space
from tests.tools.spaces import family_spaces


def images(count: int, side: int = 12) -> torch.Tensor:
    return torch.randn(count, 1, side, side, generator=Generator().manual_seed(0)) * 2 + 1


def one_pass(plain: PlainNet, x: torch.Tensor) -> PlainNet:
    """As torch does it: one batch in train mode, in float64."""
    plain = plain.double().train()
    for norm in batch_norms(plain):
        norm.momentum = 1.0
    with torch.no_grad():
        plain(x.double())
    return plain.eval()


CUTS = [(200, 200), (201, 200), (399, 200), (99, 7), (65, 64), (9, 1)]


@pytest.mark.parametrize(
    ("space", "count", "batch"),
    [*(("mbv3_micro", *cut) for cut in CUTS), *((name, 65, 32) for name in family_spaces())],
    indirect=["space"],
)
def test_statistics_are_those_of_one_pass_over_all_images(space, count, batch):
    net = Supernet(space, 4, 1, seed=1)
    arch, x = net.space.smallest(), images(count)
    found, expected = extract(net, arch).eval(), one_pass(extract(net, arch), x)
    recalibrate(found.body, x.split(batch))
    for ours, theirs in zip(batch_norms(found), batch_norms(expected), strict=True):
        torch.testing.assert_close(ours.running_mean.double(), theirs.running_mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.running_var.double(), theirs.running_var, atol=1e-5, rtol=1e-5)
    exact = extract(net, arch).double().eval()
    recalibrate(exact.body, x.double().split(batch))
    with torch.no_grad():
        torch.testing.assert_close(exact(x[:50].double()), expected(x[:50].double()), atol=1e-9, rtol=1e-9)


def test_one_image_more_is_one_image_more():
    net = Supernet(load_space("mbv3_micro"), 4, 1, seed=1)
    logits = []
    for count in (200, 201):
        plain = extract(net, net.space.largest()).eval()
        recalibrate(plain.body, images(201)[:count].split(200))
        with torch.no_grad():
            logits.append(plain(images(64)))
    # A short batch that counted in full gave half the spread.
    assert 0 < (logits[0] - logits[1]).abs().mean() < 0.01 * logits[0].std()


def test_moments_of_many_values_are_exact():
    # 2.5 million values a channel: torch's own sums in float32 are off by 1e-3
    x = torch.randn(200, 4, 112, 112, generator=Generator().manual_seed(0)) * 2 + 3
    found = Moments.of(x.contiguous(memory_format=torch.channels_last))
    assert found.count == 200 * 112 * 112
    torch.testing.assert_close(found.mean, x.double().mean((0, 2, 3)), atol=0, rtol=1e-5)
    torch.testing.assert_close(found.variance, x.double().var((0, 2, 3), correction=0), atol=0, rtol=1e-5)


def test_moments_by_hand():
    parts = [Moments.of(torch.tensor(values).view(-1, 1, 1, 1)) for values in ([1.0, 3.0, 5.0], [7.0])]
    together = Moments.together(parts)
    assert (together.count, together.mean.item(), together.variance.item()) == (4, 4.0, pytest.approx(5.0))


def test_what_comes_out_is_normalised_by_the_statistics_of_all():
    layers = nn.Sequential(*extract(Supernet(load_space("mbv3_micro"), 4, 1), load_space("mbv3_micro").smallest()).body)
    stem = layers[0][:2].eval()
    outputs = torch.cat(settle(stem, images(30).split(7)))
    assert outputs.mean((0, 2, 3)).abs().max() < 1e-5
    assert (outputs.var((0, 2, 3), correction=0) - 1).abs().max() < 1e-2  # but for the epsilon


def test_an_error_leaves_no_layer_unsettled(micro):
    plain = extract(Supernet(micro, 4, 1), micro.smallest()).eval()
    with pytest.raises(RuntimeError):
        recalibrate(plain.body, [torch.zeros(2, 3, 12, 12)])
    assert not any(norm.unsettled for norm in batch_norms(plain))


def test_augmented_images_are_those_of_training(micro, data):
    net, indices = Supernet(micro, 4, 1), torch.arange(40)
    augment = AugmentConfig(flip=True, crop_padding=2)
    given = Recalibration(indices, augment)
    ((expected, _),) = plain_batches(data.train, Normalise.of(data), batch_size=200, indices=indices, augment=augment)
    ((plain, _),) = plain_batches(data.train, Normalise.of(data), batch_size=200, indices=indices)
    assert not torch.equal(expected, plain)
    (again,) = given.batches(data, data.train.size, torch.device("cpu"))
    assert torch.equal(again, expected)
    means = [batch_norms(recalibrated(net, micro.smallest(), data, r))[0].running_mean for r in (given, given)]
    assert torch.equal(*means)
    assert not torch.equal(
        means[0], batch_norms(recalibrated(net, micro.smallest(), data, Recalibration(indices)))[0].running_mean
    )

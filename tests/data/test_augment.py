import hashlib

import numpy as np
import pytest
import torch
from PIL import Image

from dεps.core.errors import UserError
from dεps.core.schema import structured
from dεps.data.batches import Normalise, plain_batches, training_batches
from dεps.data.config import AugmentConfig, DatasetConfig
from dεps.data.splits import PreparedData, Split
from dεps.methods.losses import CrossEntropy, Targets
from dεps.sources.prepare import prepare

LIGHT = {"flip": False, "crop_padding": 0}
HEAVY = {
    "crop": {"resized_crop": 0.1},
    "policy": {"auto_augment": "imagenet"},
    "cifar policy": {"auto_augment": "cifar10"},
    "jitter": {"color_jitter": [0.4, 0.4, 0.4, 0.1]},
    "erasing": {"random_erasing": 0.9},
    "all": {
        "resized_crop": 0.08,
        "auto_augment": "imagenet",
        "color_jitter": [0.4, 0.4, 0.4, 0.1],
        "random_erasing": 0.5,
        "mixup": 0.2,
        "cutmix": 1.0,
    },
}


def memory(size: int = 32, channels: int = 3, count: int = 50) -> Split:
    """Noise in five classes, kept in memory."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (count, size, size, channels), generator=generator, dtype=torch.uint8)
    return Split(torch.arange(count) % 5, images, None, None, size, channels, 5)


def normalise(channels: int = 3) -> Normalise:
    return Normalise(torch.full((channels,), 0.5), torch.full((channels,), 0.25))


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Back to 0 … 255."""
    return (images * 0.25 + 0.5) * 255


def batches(split: Split, config: dict | AugmentConfig, **values):
    config = AugmentConfig(**config) if isinstance(config, dict) else config
    given = {"batch_size": 16, "seed": 3, "epoch": 2} | values
    return list(training_batches(split, normalise(split.channels), config, **given))


def same(a, b) -> bool:
    return all(torch.equal(x, y) for pair in zip(a, b, strict=True) for x, y in zip(*pair, strict=True))


def digest(pairs) -> str:
    sha = hashlib.sha256()
    for images, labels in pairs:
        sha.update(images.contiguous().numpy().tobytes() + labels.numpy().tobytes())
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("size", "channels", "config", "expected"),
    [  # as batches were before there was anything but flips and reflected crops
        (28, 1, {}, "9a639dc3d581358e"),
        (28, 1, {"flip": False, "crop_padding": 1}, "d755fa50ac5556a1"),
        (32, 3, {}, "b66fca60f8194cf5"),
        (32, 3, {"flip": False, "crop_padding": 1}, "e99a9c38807a3a14"),
    ],
)
def test_with_all_switches_off_every_bit_is_what_it_was(size, channels, config, expected, workers):
    pairs = batches(memory(size, channels), config, workers=workers)
    assert digest(pairs) == expected
    assert pairs[0][0].is_contiguous(memory_format=torch.channels_last)
    assert digest(batches(memory(size, channels), config, size=size)) == expected


@pytest.mark.parametrize("name", HEAVY)
def test_batches_depend_on_seed_epoch_and_step_alone(name):
    split, config = memory(), HEAVY[name]
    torch.manual_seed(1)
    before = torch.get_rng_state()
    whole = batches(split, config)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert same(whole, batches(split, config))
    assert same(whole[2:], batches(split, config, start=2))
    assert not torch.equal(whole[0][0], batches(split, config, epoch=3)[0][0])
    assert not torch.equal(whole[0][0], batches(split, config, seed=4)[0][0])
    assert not torch.equal(whole[0][0], batches(split, {})[0][0])


@pytest.mark.parametrize("name", ["crop", "all"])
def test_workers_change_nothing_and_leave_the_global_generator_alone(name):
    split, config = memory(), HEAVY[name]
    before = torch.get_rng_state()
    assert same(batches(split, config), batches(split, config, workers=2))
    assert same(batches(split, config, start=1), batches(split, config, workers=1, start=1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_does_not_depend_on_the_threads():
    try:
        torch.set_num_threads(4)
        many = batches(memory(64), HEAVY["all"], size=40)
        torch.set_num_threads(1)
        assert same(many, batches(memory(64), HEAVY["all"], size=40))
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("name", [*HEAVY, "none"])
def test_images_keep_range_layout_and_take_the_size_asked_for(name):
    for size in (None, 20):
        for images, _ in batches(memory(), HEAVY.get(name, {}), size=size):
            assert images.shape == (16, 3, size or 32, size or 32)
            assert images.dtype == torch.float32
            assert images.is_contiguous(memory_format=torch.channels_last)
            assert pixels(images).min() > -1e-3
            assert pixels(images).max() < 255.001


def ramp(size: int, count: int = 40) -> Split:
    """Red grows from left to right, green from top to bottom, both from 0 to 255."""
    line = torch.linspace(0, 255, size).round().to(torch.uint8)
    image = torch.stack([line.expand(size, size), line[:, None].expand(size, size), torch.zeros(size, size)], 2)
    return Split(torch.arange(count) % 5, image.to(torch.uint8).repeat(count, 1, 1, 1), None, None, size, 3, 5)


def test_a_resized_crop_covers_the_share_and_aspect_that_it_should():
    ((images, _),) = batches(ramp(64, 400), LIGHT | {"resized_crop": 0.25}, batch_size=400)
    corners = pixels(images)
    width = (corners[:, 0, :, -1] - corners[:, 0, :, 0]).mean(1) / 255
    height = (corners[:, 1, -1] - corners[:, 1, 0]).mean(1) / 255
    area, aspect = width * height, width / height
    assert area.min() > 0.2
    assert area.min() < 0.3
    assert area.max() > 0.85
    assert 0.7 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.45


def test_a_crop_of_the_whole_area_is_nearly_the_image():
    ((images, _),) = batches(ramp(64, 100), LIGHT | {"resized_crop": 1.0}, batch_size=100)
    whole = pixels(images[:, 0]).amax((1, 2)) - pixels(images[:, 0]).amin((1, 2))
    assert (whole == 255).any()  # aspect 1 by chance, or no other crop fits
    assert whole.min() > 180


def test_smaller_training_images_are_antialiased():
    split = memory()
    ((images, _),) = batches(split, LIGHT, batch_size=50, size=8)
    order = torch.cat([x for x, _ in batches(split, LIGHT, batch_size=50)])
    pooled = torch.nn.functional.avg_pool2d(order, 4)
    assert (pixels(images) - pixels(pooled)).abs().mean() < 12
    assert images.std() < 0.5 * order.std()  # noise is averaged, not picked


def test_plain_batches_of_another_size():
    split = ramp(32)
    ((small, labels),) = plain_batches(split, normalise(), batch_size=40, size=16)
    assert small.shape == (40, 3, 16, 16)
    assert torch.equal(labels, split.labels)
    inner = pixels(small)[0, 0, 4, 2:-2]
    assert torch.allclose(inner.diff(), torch.full((11,), 2 * 255 / 31), atol=1.01)
    whole, own = (next(plain_batches(split, normalise(), batch_size=40, size=size)) for size in (None, 32))
    assert torch.equal(whole[0], own[0])


def test_files_are_cropped_from_the_whole_original(tmp_path):
    for split in ("train", "test"):
        for label in range(2):
            (tmp_path / f"images/{split}/c{label}").mkdir(parents=True)
            for number in range(20):
                image = np.zeros((32, 96, 3), np.uint8)  # the centre crop never sees the red ends
                image[:, :24, 0] = image[:, 72:, 0] = 255
                image[:, 24:72, 1] = 255
                image[:, 40:56, 2] = 100 * label + number + (50 if split == "test" else 0)
                Image.fromarray(image).save(tmp_path / f"images/{split}/c{label}/{number}.png")
    loaded = {}
    for form, limit in (("tensor", 99), ("files", 0)):
        config = DatasetConfig("wide", "image_folder", 32, 3, str(tmp_path / "images"), in_memory_limit_mb=limit)
        (tmp_path / form).mkdir()
        prepare(config, tmp_path / form)
        loaded[form] = PreparedData(tmp_path / form, config).train
    assert loaded["files"].picture(0).size == (96, 32)
    assert loaded["tensor"].picture(0).size == (32, 32)
    red = {
        (form, crop): max(pixels(x)[:, 0].max().item() for x, _ in batches(split, LIGHT | {"resized_crop": crop}))
        for form, split in loaded.items()
        for crop in (0.0, 0.1)
    }
    assert red["files", 0.1] > 250
    assert red["files", 0.0] < 5
    assert red["tensor", 0.1] < 5
    config = LIGHT | {"resized_crop": 0.1}
    assert same(batches(loaded["files"], config), batches(loaded["files"], config, workers=2))


def test_erasing_puts_the_mean_colour_on_its_share_of_the_images():
    split = Split(
        torch.zeros(400, dtype=torch.long), torch.zeros(400, 16, 16, 3, dtype=torch.uint8), None, None, 16, 3, 1
    )
    ((images, _),) = batches(split, LIGHT | {"random_erasing": 0.25}, batch_size=400)
    changed = pixels(images) > 1
    assert 0.18 < changed.flatten(1).any(1).float().mean() < 0.32
    assert pixels(images)[changed].unique().sub(127.5).abs().max() < 0.6  # 128, the mean 0.5 in a byte
    assert images[changed].abs().max() < 0.02


def test_jitter_moves_brightness_within_its_strength():
    grey = torch.full((200, 8, 8, 1), 100, dtype=torch.uint8)
    split = Split(torch.zeros(200, dtype=torch.long), grey, None, None, 8, 1, 1)
    ((images, _),) = batches(split, LIGHT | {"color_jitter": [0.4, 0.0, 0.0, 0.0]}, batch_size=200)
    levels = pixels(images).mean((1, 2, 3))
    assert 59 <= levels.min() < 70
    assert 130 < levels.max() <= 141


@pytest.mark.parametrize("config", [{"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}])
def test_mixed_labels_are_the_shares_of_the_images(config):
    # Images of class c are of the one level 40 c, so an image's mean tells what its label must be.
    labels = torch.arange(50) % 5
    images = (labels * 40).to(torch.uint8).view(50, 1, 1, 1).expand(50, 32, 32, 3).contiguous()
    split, kinds = Split(labels, images, None, None, 32, 3, 5), set()
    for seed in range(12):
        for mixed, soft in batches(split, config, seed=seed):
            assert soft.shape == (16, 5)
            assert soft.dtype == torch.float32
            torch.testing.assert_close(soft.sum(1), torch.ones(16))
            assert ((soft > 0).sum(1) <= 2).all()
            expected = soft @ (torch.arange(5.0) * 40)
            torch.testing.assert_close(pixels(mixed).mean((1, 2, 3)), expected, atol=0.01, rtol=1e-3)
            flat = pixels(mixed).flatten(1)
            kinds.add("cutmix" if (flat.amax(1) - flat.amin(1)).max() > 1 else "mixup")
    drawn = {name for name in config if name in kinds}
    assert drawn == set(config)


def test_losses_take_mixed_labels():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 2, 1, 1])
    soft = torch.nn.functional.one_hot(labels, 3).float()
    for smoothing in (0.0, 0.1):
        loss = CrossEntropy(smoothing)
        torch.testing.assert_close(loss(logits, Targets(soft)), loss(logits, Targets(labels)))
    half = 0.5 * soft + 0.5 * soft.roll(1, 0)
    expected = 0.5 * CrossEntropy(0.1)(logits, Targets(labels)) + 0.5 * CrossEntropy(0.1)(
        logits, Targets(labels.roll(1))
    )
    torch.testing.assert_close(CrossEntropy(0.1)(logits, Targets(half)), expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_in_one_line(drawn, tmp_path, workers):
    config = DatasetConfig("drawn", "image_folder", 28, 1, str(drawn), in_memory_limit_mb=0)
    prepare(config, tmp_path)
    train = PreparedData(tmp_path, config).train
    train = Split(train.labels, None, ("train/class0/gone.png",) * 192, train.folder, 28, 1, 4)
    for switches in ({}, {"resized_crop": 0.5}):
        with pytest.raises(UserError, match=r"gone\.png' cannot be read") as caught:
            batches(train, switches, workers=workers)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"resized_crop": 1.5}, r"a\.resized_crop is 1\.5; expected 0 to 1$"),
        ({"resized_crop": float("nan")}, r"a\.resized_crop is nan; expected a finite number"),
        ({"auto_augment": "svhn"}, r"a\.auto_augment is 'svhn'; allowed: none, imagenet, cifar10"),
        ({"color_jitter": [0.4]}, r"a\.color_jitter is \[0\.4\]; expected \[\] or \[brightness, contrast"),
        ({"color_jitter": [0.4, 0.4, 0.4, 0.6]}, r"a\.color_jitter is .* hue at most 0\.5"),
        ({"color_jitter": [-0.1, 0.4, 0.4, 0.1]}, r"a\.color_jitter is \[-0\.1"),
        ({"color_jitter": [float("nan"), 0, 0, 0]}, r"a\.color_jitter\[0\] is nan"),
        ({"random_erasing": 2}, r"a\.random_erasing is 2; expected 0 to 1$"),
        ({"mixup": -1}, r"a\.mixup is -1; expected 0 to 1,000"),
        ({"cutmix": -1}, r"a\.cutmix is -1; expected 0 to 1,000"),
        ({"crop_padding": 65}, r"a\.crop_padding is 65; expected 0 to 64"),
    ],
)
def test_impossible_values_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        structured(AugmentConfig, values, "a")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"auto_augment": "imagenet"}, r"a\.auto_augment is 'imagenet', which needs dataset\.channels 3"),
        ({"color_jitter": [0.4, 0.4, 0.4, 0.0]}, r"a\.color_jitter is .* need dataset\.channels 3"),
        ({"crop_padding": 28}, r"a\.crop_padding is 28; expected less than dataset\.image_size, 28"),
    ],
)
def test_what_grey_or_small_images_cannot_have_is_refused(values, message):
    with pytest.raises(UserError, match=message):
        AugmentConfig(**values).check_images("a", 28, 1)
    AugmentConfig(**{**values, "crop_padding": 4}).check_images("a", 28, 3)
    AugmentConfig(color_jitter=[0.4, 0.4, 0.0, 0.0]).check_images("a", 28, 1)

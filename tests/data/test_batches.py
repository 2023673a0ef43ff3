from dataclasses import replace

import pytest
import torch

from dεps.data.augment import augment
from dεps.data.batches import Normalise, plain_batches, training_batches
from dεps.data.config import AugmentConfig, DatasetConfig
from dεps.data.splits import PreparedData
from dεps.sources.prepare import prepare

NONE = AugmentConfig(flip=False, crop_padding=0)


def batches(data, **values):
    given = {"batch_size": 32, "seed": 0, "epoch": 0} | values
    return list(training_batches(data.train, Normalise.of(data), given.pop("augment", AugmentConfig()), **given))


def test_normalised_images_have_mean_zero_and_deviation_one(data):
    images = torch.cat([x for x, _ in plain_batches(data.train, Normalise.of(data), batch_size=50)])
    assert images.shape == (192, 1, 28, 28)
    assert abs(images.mean().item()) < 1e-4
    assert abs(images.std().item() - 1) < 1e-3


def test_an_epoch_shows_every_image_at_most_once(data):
    pairs = batches(data, augment=NONE)
    assert len(pairs) == 6
    seen = torch.cat([x for x, _ in pairs]).flatten(1)
    assert len(torch.unique(seen, dim=0)) == 192


def test_batches_are_functions_of_seed_epoch_and_step(data):
    whole, again, tail = batches(data), batches(data), batches(data, start=4)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole, again, strict=True))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(whole[4:], tail, strict=True))
    assert not torch.equal(whole[0][0], batches(data, epoch=1)[0][0])
    assert not torch.equal(whole[0][0], batches(data, seed=1)[0][0])


def test_augmentation_is_a_reflected_shift_and_a_flip():
    image = torch.arange(36, dtype=torch.uint8).view(1, 6, 6, 1)
    padded = torch.nn.functional.pad(image.permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="reflect")
    allowed = [padded[0, 0, y : y + 6, x : x + 6] for y in range(5) for x in range(5)]
    allowed += [crop.flip(1) for crop in allowed]
    seen = set()
    for seed in range(200):
        out = augment(image, AugmentConfig(flip=True, crop_padding=2), torch.Generator().manual_seed(seed))
        matches = [i for i, crop in enumerate(allowed) if torch.equal(crop, out[0, :, :, 0].float())]
        assert matches
        seen.add(matches[0])
    assert len(seen) > 35


def test_files_decoded_by_workers_give_the_same_batches(data, drawn, tmp_path):
    config = DatasetConfig(
        name="drawn", source="image_folder", image_size=28, channels=1, root=str(drawn), in_memory_limit_mb=0
    )
    prepare(config, tmp_path)
    files = PreparedData(tmp_path, config)
    assert files.train.images is None
    for workers in (0, 2):
        pairs = batches(files, workers=workers)
        assert all(torch.equal(a[0], b[0]) for a, b in zip(batches(data), pairs, strict=True))


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_part_of_a_split_holds_the_chosen_images(data, in_memory):
    split = data.train
    if not in_memory:
        split = replace(split, images=None, files=tuple(f"{index}.png" for index in range(len(split))))
    indices = torch.tensor([5, 2, 90])
    part = split.part(indices)
    assert len(part) == 3
    assert torch.equal(part.labels, split.labels[indices])
    if in_memory:
        assert torch.equal(part.read(torch.arange(3)), split.read(indices))
    else:
        assert part.files == ("5.png", "2.png", "90.png")

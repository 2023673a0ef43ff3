"""Two processes under torchrun, on the CPU."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from dεps.data.augment import WHOLE, Part
from dεps.data.batches import Normalise, training_batches
from dεps.data.config import AugmentConfig
from dεps.evaluation import parallel
from tests.conftest import ROOT

WORKER = """
import json
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from dεps.evaluation import parallel
from dεps.data.config import DatasetConfig
from dεps.data.splits import PreparedData
from dεps.methods import registry
from dεps.training.loop import Trainer
from dεps.training.config import TrainConfig
from tests.conftest import load_space

torch.set_num_threads(1)
out, folder = Path(sys.argv[1]), Path(sys.argv[2])
data = PreparedData(folder, DatasetConfig("drawn", "image_folder", 28, 1, root="x"))
config = TrainConfig(epochs=4, batch_size=32, learning_rate=0.05, validate_recalibration=40)
space = load_space("mbv3_micro")
method = {"method": "deps", "shrink_start": 0.5, "ramp_epochs": 0.5}
run = Trainer(space, data, config, registry.build(method, "m", config.setup(space, data)), 0)
own = []
average = parallel.average
def noted(tensors):
    tensors = list(tensors)
    mine = [tensor.clone() for tensor in tensors]
    average(tensors)
    own.append((mine, [tensor.clone() for tensor in tensors]))
parallel.average = noted
records = list(run.run())
assert run.step >= 20
mine, mean = own[-1]  # the full model's, the smallest's and two random subnets' gradients, summed; then four losses
assert len(mine) == len(list(run.net.parameters())) + 4
tensors = {f"mine.{i}": tensor.contiguous() for i, tensor in enumerate(mine)}
tensors |= {f"mean.{i}": tensor.contiguous() for i, tensor in enumerate(mean)}
tensors |= {f"net.{name}": parameter.detach().contiguous() for name, parameter in run.net.named_parameters()}
save_file(tensors, out / f"{parallel.part().number}.safetensors")
(out / f"{parallel.part().number}.json").write_text(json.dumps(records))
parallel.leave()
"""


def test_alone_there_is_one_part_and_nothing_to_average():
    gradient = torch.ones(3)
    assert parallel.part() == WHOLE
    parallel.average([gradient])
    parallel.wait()
    parallel.leave()
    assert gradient.tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("device", "backend", "own"), [("cpu", "gloo", None), ("cuda", "nccl", 1), (None, "nccl", 1)])
def test_processes_talk_as_their_device_needs(monkeypatch, device, backend, own):
    """On a machine with GPUs, which stands here for itself."""
    joined, chosen = [], []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(parallel.dist, "init_process_group", lambda *names, **given: joined.append((*names, given)))
    monkeypatch.setattr(parallel.dist, "get_rank", lambda: 1)
    monkeypatch.setattr(parallel.dist, "get_world_size", lambda: 2)
    assert parallel.part(device and torch.device(device)) == Part(1, 2)
    ((name, given),) = joined
    gpu = own and torch.device("cuda", own)
    assert (name, given["device_id"], chosen) == (backend, gpu, [gpu] if gpu else [])


def test_memory_that_ends_is_not_another_process_that_has_ended(monkeypatch):
    monkeypatch.setattr(parallel, "part", lambda: Part(0, 2))

    def fail(tensor):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(parallel.dist, "all_reduce", fail)
    with pytest.raises(torch.OutOfMemoryError):
        parallel.average([torch.ones(1)])


@pytest.mark.parametrize("config", [AugmentConfig(), AugmentConfig(resized_crop=0.3, random_erasing=0.5)])
def test_parts_make_up_the_whole_batch(data, config):
    def first(part):
        arguments = {"batch_size": 32, "seed": 0, "epoch": 0, "part": part}
        return next(training_batches(data.train, Normalise.of(data), config, **arguments))

    whole, parts = first(WHOLE), [first(Part(number, 2)) for number in range(2)]
    for position in range(2):
        assert torch.equal(whole[position], torch.cat([part[position] for part in parts]))


@pytest.mark.slow
def test_two_processes_average_gradients_and_keep_equal_weights(data, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, str(tmp_path), str(data.folder.resolve())], check=True, cwd=ROOT, env=environment)
    first, second = (load_file(tmp_path / f"{number}.safetensors") for number in range(2))
    for name in first:
        if name.startswith("mine."):
            mean = (first[name] + second[name]) / 2
            torch.testing.assert_close(first[name.replace("mine", "mean")], mean, atol=1e-6, rtol=1e-5)
        else:
            assert torch.equal(first[name], second[name])
    # Losses are means over both, and each validates its share of the images.
    records = (tmp_path / "0.json").read_text()
    assert "val/largest_top1" in records
    assert records == (tmp_path / "1.json").read_text()

import os

import pytest
import torch

from dεps.core.device import best_device, set_up, visible_gpus
from dεps.core.errors import UserError


def test_without_a_gpu_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device() == torch.device("cpu")


@pytest.fixture
def gpus(monkeypatch):
    """Four, as torch would tell."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(("rank", "expected"), [(None, 0), ("0", 0), ("3", 3)])
def test_each_process_of_a_machine_has_its_own_gpu(monkeypatch, rank, expected):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert best_device() == torch.device("cuda", expected)


@pytest.mark.usefixtures("gpus")
def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "4")
    with pytest.raises(UserError, match=r"^launch starts 5 or more processes on a machine with 4 GPUs; expected"):
        best_device()


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("named", "expected"), [(None, list("0123")), ("", list("0123")), ("3,GPU-5a", ["3", "GPU-5a"])]
)
def test_visible_gpus_are_those_of_the_environment(monkeypatch, named, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == expected


def test_float32_is_float32_everywhere(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    set_up()
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("given", "expected"), [(None, "AUTO"), ("COMPATIBLE", "COMPATIBLE")])
def test_matrix_products_are_asked_to_be_reproducible(monkeypatch, given, expected):
    monkeypatch.delenv("MKL_CBWR", raising=False)
    if given:
        monkeypatch.setenv("MKL_CBWR", given)
    set_up()
    assert os.environ["MKL_CBWR"] == expected

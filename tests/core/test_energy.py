"""Energy by made-up counters: packages alone count, wraps are counted, what cannot be read is absent."""

import sys
from types import SimpleNamespace

import pytest

from dεps.core import energy
from dεps.core.energy import EnergyMeter


def counter(folder, name: str, kind: str, micro: int, largest: int = 999_999_999):
    path = folder / name
    path.mkdir()
    for file, value in (("name", kind), ("energy_uj", micro), ("max_energy_range_uj", largest)):
        (path / file).write_text(f"{value}\n")
    return path / "energy_uj"


@pytest.fixture
def nvml(monkeypatch):
    """Two GPUs, whose energy in mJ a test sets."""
    used = {0: 1000, 1: 5000}
    module = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda number: number,
        nvmlDeviceGetHandleByUUID=lambda name: {"GPU-b": 1}[name],
        nvmlDeviceGetTotalEnergyConsumption=lambda gpu: used[gpu],
    )
    monkeypatch.setitem(sys.modules, "pynvml", module)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    return used


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)


def test_packages_are_summed_and_their_parts_left_out(tmp_path, no_gpu):
    first = counter(tmp_path, "intel-rapl:0", "package-0", 100)
    second = counter(tmp_path, "intel-rapl:1", "package-1", 200)
    counter(tmp_path, "intel-rapl:0:0", "core", 0)
    counter(tmp_path, "intel-rapl:2", "psys", 0)
    with EnergyMeter(tmp_path) as meter:
        first.write_text("3000100\n")
        second.write_text("1500200\n")
        assert meter.joules() == {"cpu": 4.5}


def test_a_counter_that_starts_over_is_followed(tmp_path, no_gpu, monkeypatch):
    file = counter(tmp_path, "intel-rapl:0", "package-0", 9_000_000, largest=9_999_999)
    with EnergyMeter(tmp_path) as meter:
        file.write_text("500000\n")
        assert meter.joules() == {"cpu": 1.5}
        file.write_text("400000\n")
        assert meter.joules() == {"cpu": 11.4}


def test_counters_are_read_meanwhile(tmp_path, no_gpu, monkeypatch):
    monkeypatch.setattr(energy, "EVERY", 0.01)
    file = counter(tmp_path, "intel-rapl:0", "package-0", 0, largest=999_999)
    with EnergyMeter(tmp_path) as meter:
        for micro in (900_000, 800_000):  # once around
            file.write_text(f"{micro}\n")
            for _ in range(1000):
                if meter._packages[0].last == micro:
                    break
                meter._over.wait(0.01)
        assert meter.joules() == {"cpu": 1.8}
    meter._thread.join(10)
    assert not meter._thread.is_alive()


def test_nothing_to_read_starts_no_thread(tmp_path, no_gpu):
    with EnergyMeter(tmp_path) as meter:
        assert meter._thread is None


def test_what_cannot_be_read_is_absent(tmp_path, no_gpu):
    with EnergyMeter(tmp_path / "nowhere") as meter:
        assert meter.joules() == {}
    file = counter(tmp_path, "intel-rapl:0", "package-0", 5)
    counter(tmp_path, "intel-rapl:1", "package-1", 5)
    with EnergyMeter(tmp_path) as meter:
        file.unlink()
        assert meter.joules() == {}  # not that of the other package alone
    file.write_text("no number")
    with EnergyMeter(tmp_path) as meter:
        assert meter.joules() == {"cpu": 0.0}  # the one that is left


@pytest.mark.parametrize(("visible", "joules"), [(None, 3.0), ("1", 2.0), ("GPU-b", 2.0), ("0,1", 3.0)])
def test_gpus_are_those_that_the_process_sees(tmp_path, monkeypatch, nvml, visible, joules):
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with EnergyMeter(tmp_path) as meter:
        nvml |= {0: 2000, 1: 7000}
        assert meter.joules() == {"gpu": joules}


@pytest.mark.parametrize("visible", ["", "GPU-unknown"])
def test_no_gpu_or_an_unknown_one_has_no_energy(tmp_path, monkeypatch, nvml, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with EnergyMeter(tmp_path) as meter:
        assert meter.joules() == {}


def test_gpus_that_the_process_does_not_use_or_cannot_be_read_are_absent(tmp_path, monkeypatch, nvml):
    with EnergyMeter(tmp_path) as meter:
        del nvml[1]
        assert meter.joules() == {}
    nvml[1] = 0
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: False)
    with EnergyMeter(tmp_path) as meter:
        assert meter.joules() == {}

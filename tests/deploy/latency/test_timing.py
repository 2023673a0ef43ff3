import time

import pytest
import torch
from torch import nn

from dεps.core.errors import UserError
from dεps.deploy.latency import timing
from dεps.deploy.latency.timing import Conditions, latencies, runner


def test_milliseconds_of_a_call(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 9)
    found = latencies([lambda: time.sleep(0.001), lambda: time.sleep(0.004)], Conditions(), "sleep")
    assert found == pytest.approx([1.1, 4.1], rel=0.25)


def test_a_disturbance_moves_the_median_little(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 11)
    calls = iter(range(10**6))

    def disturbed() -> None:
        time.sleep(0.03 if next(calls) % 5 == 4 else 0.002)

    assert latencies([disturbed], Conditions(), "sleep")[0] < 4


def test_slow_networks_are_sampled_less_often(monkeypatch):
    monkeypatch.setattr(timing, "PATIENCE", 0.05)
    calls = []

    def slow() -> None:
        calls.append(time.sleep(0.01))

    latencies([slow], Conditions(), "sleep")
    assert len(calls) == 6 + timing.FEWEST_ROUNDS


@pytest.mark.parametrize("engine", timing.ENGINES)
def test_both_engines_run(engine):
    conditions = Conditions(engine, threads=1, batch=3)
    run = runner(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 8, 8), conditions)
    run()
    assert engine in conditions.runtime
    assert "1 thread" in conditions.runtime


def test_threads_are_put_back():
    before = torch.get_num_threads()
    latencies([lambda: None], Conditions("torch", threads=before + 1), "nothing")
    assert torch.get_num_threads() == before


def test_an_unknown_engine_is_named():
    with pytest.raises(UserError, match="--engine is 'tpu'; allowed: onnxruntime, torch"):
        Conditions("tpu").check()

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


def made_up(samples, monkeypatch) -> None:
    """Let samples be the given (seconds, share of the processor), after the six that warm up."""
    values = iter([(0.002, 1.0)] * 6 + samples)
    monkeypatch.setattr(timing, "_sample", lambda *_: next(values))
    monkeypatch.setattr(timing, "ROUNDS", len(samples))
    monkeypatch.setattr(timing, "FEWEST_ROUNDS", 1)


def test_samples_that_another_process_interrupted_do_not_count(monkeypatch, capsys):
    """By their plain median it would be 9 ms."""
    made_up([(0.009, 0.4), (0.003, 1.0), (0.009, 0.4), (0.001, 0.99), (0.002, 1.0), (0.009, 0.3)], monkeypatch)
    assert latencies([lambda: None], Conditions(), "net").tolist() == [2.0]
    assert "processor" not in capsys.readouterr().err


def test_so_do_samples_of_several_threads_that_lost_some_of_them(monkeypatch):
    made_up([(0.002, 4.0), (0.006, 1.33), (0.002, 3.9), (0.006, 1.4), (0.003, 4.0), (0.006, 1.3)], monkeypatch)
    assert latencies([lambda: None], Conditions(threads=4), "net").tolist() == [2.0]


def test_a_busy_machine_is_said(monkeypatch, capsys):
    made_up([(0.009, 0.4), (0.003, 0.5), (0.007, 0.4), (0.001, 0.99)], monkeypatch)
    assert latencies([lambda: None], Conditions(), "net").tolist() == [5.0]  # of all, since one is too few
    error = capsys.readouterr().err
    assert "net: other processes took the processor away in 75% of the samples; measure again" in error


def test_the_share_of_the_processor_is_that_of_this_process():
    def busy() -> None:
        end = time.process_time() + 0.01
        while time.process_time() < end:
            pass

    assert timing._sample(lambda: time.sleep(0.01), 1, lambda: None)[1] < 0.5
    wall, own = time.perf_counter(), time.process_time()
    share = timing._sample(busy, 20, lambda: None)[1]
    own, wall = time.process_time() - own, time.perf_counter() - wall
    assert share == pytest.approx(own / wall, rel=0.2)  # whatever else runs here


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

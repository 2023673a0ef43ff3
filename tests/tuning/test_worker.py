import pytest

from dεps.tuning import worker


def test_an_interrupted_worker_leaves_the_line_about_it_to_its_parent(tmp_path, monkeypatch, capsys):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)  # whatever params.yaml of this clone says
    monkeypatch.setattr(worker, "_prepare", interrupt)
    monkeypatch.setattr("sys.argv", ["worker", "quick", "3"])
    with pytest.raises(SystemExit) as ended:
        worker.main()
    assert ended.value.code == 130
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


@pytest.mark.parametrize(("gpus", "expected"), [([], [None] * 3), (["0"], ["0"] * 3), (["2", "5"], ["2", "5", "2"])])
def test_workers_take_turns_on_gpus(gpus, expected):
    assert [worker._own_gpu(gpus, number).get("CUDA_VISIBLE_DEVICES") for number in range(3)] == expected

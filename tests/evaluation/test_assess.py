import json

import numpy as np
import pytest

from dεps.data.splits import PreparedData
from dεps.evaluation import assess as module
from dεps.evaluation.accuracy import measured
from dεps.evaluation.assess import assess, print_assessment
from dεps.evaluation.inputs import recalibration
from dεps.nets.files import save_supernet
from dεps.nets.supernet import Supernet
from dεps.workspace.stage import Context
from tests.conftest import quick_params


def drawn(classes: int) -> PreparedData:
    def images(count: int, seed: int):
        pixels = np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        return pixels, np.arange(count) % classes

    return PreparedData.from_arrays(images(60, 0), images(24, 1))


@pytest.mark.parametrize("classes", [4, 6])
def test_top5_is_measured_and_shown_of_more_than_five_classes(micro, tmp_path, monkeypatch, capsys, classes):
    data, net = drawn(classes), Supernet(micro, classes, channels=1, seed=1)
    path, params = tmp_path / "supernet.safetensors", quick_params() | {"names": ["quick"]}
    save_supernet(net, path)
    params["experiments"]["quick"]["evaluate"]["recalibration_images"] = 48
    monkeypatch.setattr(module, "load_data", lambda context: data)
    result = assess(path, params, archs=["smallest", "largest"])
    calibration = recalibration(Context("evaluate", "quick", params=params), data, 48, module.SEED)
    archs = [micro.named(name, "arch") for name in ("smallest", "largest")]
    expected = measured(net, archs, data, {"validation": data.validation}, calibration)
    assert [row.top1 for row in result.archs] == [row["validation_top1"] for row in expected]
    assert [row.top5 for row in result.archs] == [row.get("validation_top5") for row in expected]
    assert json.loads(result.to_json())["archs"][0]["top5"] == expected[0].get("validation_top5")
    print_assessment(result)
    shown = capsys.readouterr().out
    assert ("top-5 (%)" in shown) == (classes > 5)
    assert classes < 6 or f"{expected[0]['validation_top5']:.2f}" in shown

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

from dεps.cli.main import main
from dεps.core.process import PORTABLE
from dεps.data.config import AugmentConfig
from dεps.data.splits import PreparedData
from dεps.evaluation.accuracy import Recalibration, top1
from dεps.nets.files import load_supernet, save_supernet
from dεps.nets.public import export_checkpoint, to_public
from dεps.nets.supernet import Supernet
from dεps.spaces.cost import arch_cost
from dεps.spaces.pareto import mean_pareto_accuracy
from dεps.spaces.space import Arch
from tests.conftest import ROOT, quick_text
from tests.tools.spaces import PLAIN


@pytest.mark.parametrize(
    "command",
    [
        *("params", "plan", "tune", "import", "export-checkpoint", "evaluate", "show", "track", "publish", "table"),
        *("export", "classify", "latency", "ui", "completion", "dag", "exp"),
    ],
)
def test_every_command_explains_itself(command):
    assert command in CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0


def test_errors_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params").mkdir()
    result = CliRunner().invoke(main, ["params"])
    assert result.exit_code == 2
    assert result.output == "error: params/config.yaml does not exist; run this in the project's folder\n"
    assert not Path("params.yaml").exists()


def test_an_empty_folder_has_the_packages_presets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = json.loads(done("plan", "--steps", "0", "--json"))
    assert list(planned["experiments"]) == ["quick"]
    assert list(tmp_path.iterdir()) == []
    assert done("params", "methods=[deps]") == "params.yaml: names quick × methods deps × seeds 0, portable\n"
    assert list(json.loads(done("plan", "--steps", "0", "--json"))["experiments"]["quick"]["methods"]) == [
        "full_model",
        "deps",
    ]


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """The project's folder with its params."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    (tmp_path / "params.yaml").write_text(quick_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_plan_prints_and_writes_nothing(project):
    before = files(project)
    result = CliRunner().invoke(main, ["plan", "methods=[deps]", "--steps", "0"])
    assert result.exit_code == 0, result.output
    assert "full model (6) → shrinking (6)" in result.output
    assert "1 → 4" in result.output
    assert files(project) == before


def test_plan_of_overrides_and_of_params_yaml(project):
    def planned(*arguments):
        result = CliRunner().invoke(main, ["plan", "--json", "--steps", "0", *arguments])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)["experiments"]["quick"]["methods"]

    path = project / "params.yaml"
    path.write_text(path.read_text().replace("shrink_start: 0.5", "shrink_start: 0.25"))
    assert [phase["epochs"] for phase in planned()["deps"]["phases"]] == [1.0, 3.0]
    overrides = ["experiments.quick.methods.deps.shrink_start=0.75", "methods=[deps]"]
    assert [phase["epochs"] for phase in planned(*overrides)["deps"]["phases"]] == [9.0, 3.0]


def test_plan_measures_and_draws(project):
    result = CliRunner().invoke(main, ["plan", "methods=[deps]", "--steps", "1", "--figure", "out/plan.svg"])
    assert result.exit_code == 0, result.output
    assert "time here" in result.stdout
    assert "</svg>" in (project / "out/plan.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiments.quick.methods.deps.shrink_start=7"], "experiments.quick.methods.deps.shrink_start is 7"),
        (["nonsense"], "override 'nonsense' is not understood"),
        (["--figure", "plan.jpg"], "--figure is plan.jpg; expected a file name that ends in .svg, .png, .pdf"),
        (["experiments.quick.train.batch_size=9000"], "train.batch_size is 9000; expected at most the 7000 images"),
        (
            ["dataset@experiments.quick.dataset=image_folder"]
            + [f"experiments.quick.dataset.{key}" for key in ("name=m", "root=i", "image_size=28", "channels=1")],
            "experiments.quick.dataset.train_images is not set",
        ),
    ],
)
def test_plan_refuses_with_one_line(project, arguments, message):
    before = files(project)
    result = CliRunner().invoke(main, ["plan", "--steps", "0", *arguments])
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert message in result.output
    assert result.output.count("\n") == 1
    assert files(project) == before


def refused(*arguments) -> str:
    """The only line that a command prints, which is an error."""
    before = files(Path())
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    assert files(Path()) == before
    return result.output.removeprefix("error: ").rstrip()


def done(*arguments) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_import_and_export_of_a_public_checkpoint(project, micro):
    net = Supernet(micro, 5, channels=1, kernel_transform=True, seed=2)
    state = {f"module.{key}": tensor for key, tensor in to_public(net).items()} | {"odd": torch.zeros(1)}
    torch.save({"state_dict": state, "epoch": 7}, "ofa_w1.0")
    parameters = sum(parameter.numel() for parameter in net.parameters())
    counters = sum(key.endswith("num_batches_tracked") for key in state)
    assert done("import", "ofa_w1.0", "--space", "mbv3_micro") == (
        f"ofa_w1.0.safetensors: mbv3_micro, 5 classes, 1 input channels, {parameters:,} parameters, "
        f"with kernel transformation, BN epsilon 1e-05; not used: {counters} BN counters, odd, epoch\n"
    )
    assert "BN epsilon 0.001;" in done(
        "import", "ofa_w1.0", "--space", "mbv3_micro", "--bn-eps", "1e-3", "--out", "o.safetensors"
    )
    save_supernet(net, Path("own.safetensors"))
    assert Path("ofa_w1.0.safetensors").read_bytes() == Path("own.safetensors").read_bytes()
    printed = done("export-checkpoint", "ofa_w1.0.safetensors", "deep/net.pth")
    assert printed == "deep/net.pth: mbv3_micro, 5 classes, 1 input channels\n"
    done("import", "deep/net.pth", "--space", "mbv3_micro")
    assert Path("deep/net.safetensors").read_bytes() == Path("own.safetensors").read_bytes()
    export_checkpoint(net, Path("net.pth"))
    assert Path("deep/net.pth").read_bytes() == Path("net.pth").read_bytes()


def test_import_finds_a_space_that_builds_on_another(project, micro):
    Path("params/space/mine.yaml").write_text("defaults: [mbv3_micro, _self_]\nname: mine\nresolution: [32]\n")
    export_checkpoint(Supernet(micro, 5), Path("net.pth"))
    done("import", "net.pth", "--space", "mine", "--out", "out/mine.safetensors")
    assert load_supernet(Path("out/mine.safetensors")).space.resolution == [32]


def test_import_refuses_with_one_line(project, micro):
    export_checkpoint(Supernet(micro, 5), Path("net.pth"))
    save_supernet(Supernet(micro, 5), Path("own.safetensors"))
    Path("broken.pth").write_bytes(Path("net.pth").read_bytes()[:5000])
    wrong = refused("import", "net.pth", "--space", "mbv3")
    assert re.match(r"space is 'mbv3'; allowed: (\w+, )*mbv3_224, ", wrong)
    wrong = refused("import", "net.pth", "--space", "mbv3_micro", "--bn-eps", "0")
    assert wrong == "--bn-eps is 0.0; expected a positive number up to 1"
    message = refused("import", "net.pth", "--space", "resnet50d_224")
    assert message == "net.pth has no input_stem.0.conv.conv.weight; expected one of shape 32×channels×3×3"
    message = refused("import", "net.pth", "--space", "mbv3_micro_32", "--out", "x.safetensors")
    assert message == "net.pth: first_conv.conv.weight has shape 8×3×3×3; the space mbv3_micro_32 needs 16×3×3×3"
    assert "broken.pth is damaged" in refused("import", "broken.pth", "--space", "mbv3_micro")
    assert refused("import", "none", "--space", "mbv3_micro") == "none cannot be read (No such file or directory)"
    message = refused("import", "net.pth", "--space", "mbv3_micro", "--out", "net.bin")
    assert message == "--out is net.bin; expected a file name that ends in .safetensors"
    assert "would replace the checkpoint" in refused("import", "own.safetensors", "--space", "mbv3_micro")
    out = "net.pth/net.safetensors"  # a file where a folder would have to be
    assert refused("import", "net.pth", "--space", "mbv3_micro", "--out", out).startswith("net.pth: ")
    shutil.rmtree("params/space")
    assert refused("import", "net.pth", "--space", "mbv3_micro").startswith("params/space holds no space; ")


def test_import_takes_the_packages_space_where_there_are_no_params(project, micro):
    export_checkpoint(Supernet(micro, 5), Path("net.pth"))
    shutil.rmtree("params")
    assert done("import", "net.pth", "--space", "mbv3_micro").startswith("net.safetensors: mbv3_micro, 5 classes")
    assert load_supernet(Path("net.safetensors")).space == micro


@pytest.mark.parametrize("space", [PLAIN], indirect=True)
def test_export_refuses_with_one_line(project, space):
    save_supernet(Supernet(space, 2), Path("plain.safetensors"))
    assert "of the family plain; there are names" in refused("export-checkpoint", "plain.safetensors", "net.pth")
    assert "would replace the supernet" in refused("export-checkpoint", "plain.safetensors", "plain.safetensors")
    assert "none is no readable supernet" in refused("export-checkpoint", "none", "net.pth")


@pytest.fixture
def prepared(project, data, micro) -> PreparedData:
    """The drawn images as the prepared data of `quick`, beside a supernet for them."""
    params = yaml.safe_load(Path("params.yaml").read_text())
    quick = params["experiments"]["quick"]
    quick["dataset"] |= {"name": "drawn", "source": "image_folder", "image_size": 28, "channels": 1, "root": "images"}
    quick["evaluate"]["recalibration_images"] = 50
    Path("params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(data.folder, "runs/quick/prepare")
    save_supernet(Supernet(micro, 4, channels=1, seed=1), Path("net.safetensors"), micro.restrict(depth=[2, 3]))
    return data


def test_evaluate_measures_as_the_pipeline_does(prepared):
    net = load_supernet(Path("net.safetensors"))
    space, indices = net.choices, Recalibration.of(prepared.train, 50, 0)
    for options, split in (((), prepared.validation), (("--split", "test"), prepared.test)):
        result = json.loads(done("evaluate", "net.safetensors", "--json", *options))
        archs = {**space.pareto_archs(), "D2E2K3": space.smallest()}
        assert {row["name"]: Arch.parse(row["arch"]) for row in result["archs"]} == archs
        for row, arch in zip(result["archs"], archs.values(), strict=True):
            assert (row["macs"], row["params"]) == arch_cost(net.space, arch, 4, 1)
            assert row["top1"] == round(top1(net, arch, prepared, split, indices), 4)
        points = [(row["macs"], row["top1"]) for row in result["archs"][:-1]]
        assert result["mean_pareto_top1"] == round(mean_pareto_accuracy(*zip(*points, strict=True)), 4)
        assert (result["images"], result["recalibration_images"]) == (len(split), 50)
        assert (result["experiment"], result["split"]) == ("quick", options[1] if options else "validation")


def test_evaluate_recalibrates_on_augmented_images_where_params_say_so(prepared):
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["experiments"]["quick"]["train"]["recalibrate_on"] = "augmented"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    net = load_supernet(Path("net.safetensors"))
    augment = AugmentConfig(flip=False, crop_padding=1)
    images = Recalibration.of(prepared.train, 50, 0, augment)
    (row,) = json.loads(done("evaluate", "net.safetensors", "--json", "--arch", "largest"))["archs"]
    assert row["top1"] == round(top1(net, net.choices.largest(), prepared, prepared.validation, images), 4)


def test_evaluate_prints_a_table(prepared):
    text = done("evaluate", "net.safetensors", "--experiment", "quick", "--arch", "smallest", "--arch", "D3E4K5")
    assert "net.safetensors on quick, 48 validation images" in text
    assert "smallest " in text
    assert "D3E4K5 " in text
    assert "BN recalibrated on 50 training images." in text
    assert "Mean Pareto" not in text
    assert "Mean Pareto accuracy: " in done("evaluate", "net.safetensors")


def test_evaluate_on_some_images_takes_the_same_ones_each_time(prepared):
    options = ["evaluate", "net.safetensors", "--json", "--arch", "largest", "--images"]
    first, second = (json.loads(done(*options, 10)) for _ in range(2))
    assert first == second
    assert first["images"] == 10
    assert first["archs"][0]["top1"] % 10 == 0
    assert first["mean_pareto_top1"] is None
    assert json.loads(done(*options, 1000))["images"] == 48


def test_evaluate_refuses_with_one_line(prepared, micro):
    save_supernet(Supernet(micro, 7, channels=1), Path("seven.safetensors"))
    save_supernet(Supernet(micro, 4, channels=3), Path("colour.safetensors"))
    assert (
        refused("evaluate", "seven.safetensors")
        == "seven.safetensors has 7 classes, the data runs/quick/prepare has 4; expected the same"
    )
    assert "colour.safetensors has 3 input channels, the data runs/quick/prepare has 1; expected the same" in refused(
        "evaluate", "colour.safetensors"
    )
    assert refused("evaluate", "net.safetensors", "--arch", "big").startswith("--arch is 'big'; allowed: smallest, ")
    untrained = str(micro.restrict([1], [3], [2]).largest())  # of the space, not of the part that was trained
    assert "allowed: smallest, " in refused("evaluate", "net.safetensors", "--arch", untrained)
    assert "none is no readable supernet" in refused("evaluate", "none")
    message = refused("evaluate", "net.safetensors", "--experiment", "cifar10")
    assert message == "params.yaml has no 'experiments.cifar10'; there is: quick"
    shutil.rmtree("runs/quick/prepare")
    assert "run the stage 'prepare'" in refused("evaluate", "net.safetensors")
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("names:\n- quick\n", "names:\n- quick\n- cifar10\n"))
    assert refused("evaluate", "net.safetensors") == "--experiment is needed; params.yaml selects quick, cifar10"


def test_torchs_latency_is_not_measured_with_portable_kernels(monkeypatch):
    for name, text in PORTABLE.items():
        monkeypatch.setenv(name, text)
    message = refused("latency", "--space", "mbv3_micro", "--engine", "torch")
    assert message.startswith("--engine is torch, which portable: true in params.yaml slows down; expected onnxruntime")

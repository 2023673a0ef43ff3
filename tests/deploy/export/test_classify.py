import itertools
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from dεps.cli.main import main
from dεps.data.augment import resize
from dεps.data.batches import Normalise, plain_batches
from dεps.data.folder import to_picture
from dεps.deploy.export.classify import model_input
from dεps.deploy.export.formats import save_model
from dεps.deploy.export.subnet import comparison_batches
from dεps.deploy.onnx import session
from tests.conftest import ROOT


@pytest.fixture
def folder(tmp_path, subnet, net, data, monkeypatch) -> Path:
    """Models and the first ten test images as files, as the working folder."""
    monkeypatch.chdir(tmp_path)
    plain, card = subnet
    for name in ("net.onnx", "net.safetensors"):
        batches = comparison_batches(net, data, data.validation, net.space.largest(), 8)
        save_model(name.rpartition(".")[2], plain, net.space, card, Path(name), batches)
    Path("images").mkdir()
    for index in range(10):
        to_picture(data.test.read(torch.tensor([index]))[0].numpy()).save(f"images/{index}.png")
    return tmp_path


def classified(*arguments) -> list[dict]:
    result = CliRunner().invoke(main, ["classify", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", ["net.onnx", "net.safetensors"])
def test_it_says_what_the_pipeline_says(folder, subnet, data, name):
    images, _ = next(plain_batches(data.test, Normalise.of(data), batch_size=10))
    with torch.no_grad():
        expected = subnet[0](images).softmax(1)
    rows = classified(name, "images", "--top", 2)
    assert [Path(row["image"]).name for row in rows] == [f"{index}.png" for index in range(10)]
    for row, own in zip(rows, expected, strict=True):
        best = own.argsort(descending=True)[:2].tolist()
        assert [entry["class"] for entry in row["top"]] == [data.classes[label] for label in best]
        assert [entry["probability"] for entry in row["top"]] == pytest.approx(own[best].tolist(), abs=2e-6)


def test_more_classes_than_there_are_are_all(folder):
    (row,) = classified("net.onnx", "images/0.png", "--top", 99)
    assert sum(entry["probability"] for entry in row["top"]) == pytest.approx(1, abs=1e-5)
    assert len(row["top"]) == 4


def test_input_is_that_of_the_pipeline(folder, subnet, data):
    card = replace(subnet[1], resolution=20)
    pixels = data.test.read(torch.arange(1))
    expected = Normalise.of(data)(resize(pixels, 20))[0].numpy()
    step = 1 / (255 * card.std[0])  # rounding may differ by one level of grey
    assert np.abs(model_input(Path("images/0.png"), card) - expected).max() < 1.01 * step
    same = Normalise.of(data)(pixels)[0].numpy()
    assert np.abs(model_input(Path("images/0.png"), subnet[1]) - same).max() < 1e-6


def test_input_is_cropped_as_the_data_were(folder, subnet):
    card = replace(subnet[1], size=21, resolution=21, crop=0.75)
    whole = model_input(Path("images/0.png"), replace(card, size=28, resolution=28, crop=1.0))
    assert np.array_equal(model_input(Path("images/0.png"), card), whole[:, 3:24, 3:24])


def test_colour_becomes_grey_and_grey_colour(folder, subnet):
    picture = Image.open("images/0.png")
    for mode in ("RGB", "RGBA", "P", "1", "I;16"):
        picture.convert("L" if mode == "I;16" else mode).save(f"images/{mode[0]}.png")
    rows = classified("net.onnx", "images/0.png", "images/R.png")
    assert rows[0]["top"] == rows[1]["top"]
    card = replace(subnet[1], channels=3, mean=[0.5] * 3, std=[1.0] * 3)
    channels = model_input(Path("images/0.png"), card)
    assert channels.shape == (3, 28, 28)
    assert (channels[0] == channels[2]).all()
    classified("net.onnx", "images")


def test_other_sizes_are_resized_and_cropped(folder):
    Image.open("images/0.png").resize((90, 56)).save("images/wide.jpg")
    assert classified("net.onnx", "images/wide.jpg")[0]["top"]


def test_text_for_people(folder):
    result = CliRunner().invoke(main, ["classify", "net.onnx", "images", "--top", "1"])
    assert len(result.stdout.splitlines()) == 10
    assert result.stdout.startswith("images/0.png: class")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["net.onnx", "none.png"], "none.png"),
        (["net.onnx", "text.png"], "text.png"),
        (["net.onnx", "cut.png"], "cut.png"),
        (["net.onnx", "thin.png"], "thin.png"),
        (["net.onnx", "empty"], "empty holds no image"),
        (["text.onnx", "images"], "text.onnx"),
        (["foreign.onnx", "images"], "foreign.onnx says nothing about classes and images"),
        (["wrong.onnx", "images"], "wrong.onnx"),
        (["cut.safetensors", "images"], "cut.safetensors"),
    ],
)
def test_what_cannot_be_classified_is_named_in_one_line(folder, arguments, named):
    for name in ("text.png", "text.onnx"):
        Path(name).write_text("text")
    Path("empty").mkdir()
    Path("cut.png").write_bytes(Path("images/0.png").read_bytes()[:200])
    Path("cut.safetensors").write_bytes(Path("net.safetensors").read_bytes()[:5000])
    Image.new("L", (3, 3000)).save("thin.png")
    model = onnx.load("net.onnx")
    entries = {entry.key: entry for entry in model.metadata_props}
    entries["classes"].value = '["a", "b"]'
    onnx.save(model, "wrong.onnx")
    del model.metadata_props[:]
    onnx.save(model, "foreign.onnx")
    result = CliRunner().invoke(main, ["classify", *arguments])
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert result.stderr.count("\n") == 1


def no_inputs(graph):
    del graph.input[:]


def two_inputs(graph):
    graph.input.append(onnx.helper.make_tensor_value_info("more", onnx.TensorProto.FLOAT, [1]))


def whole_number_input(graph):
    graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.INT64


def other_size(graph):
    graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**40


def text_output(graph):
    graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.STRING


def no_output(graph):
    del graph.output[:]


def elsewhere(graph):
    graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    entry = graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def larger_than_it_is(graph):
    graph.initializer[0].dims[0] = 2**33


def overflowing_size(graph):
    graph.initializer[0].dims[:] = [2**62, 2**62]


def negative_size(graph):
    graph.initializer[0].dims[0] = -1


def not_a_number(graph):
    values = onnx.numpy_helper.to_array(graph.initializer[0]).copy()
    values.flat[-1] = np.nan
    graph.initializer[0].raw_data = values.tobytes()


def infinite(graph):
    values = onnx.numpy_helper.to_array(graph.initializer[-1]).copy()
    values.flat[0] = np.inf
    graph.initializer[-1].raw_data = values.tobytes()


def first(graph, *nodes):
    """Put nodes, whose last makes "z", between the images and what reads them."""
    for node in graph.node:
        node.input[:] = ["z" if name == graph.input[0].name else name for name in node.input]
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])


def fills_the_memory(graph):
    size = onnx.numpy_helper.from_array(np.array([2**40]), "size")
    graph.initializer.append(size)
    graph.node.append(onnx.helper.make_node("ConstantOfShape", ["size"], ["much"]))


def never_ends(graph):
    values = [onnx.helper.make_tensor_value_info(name, kind, []) for name, kind in (("n", 7), ("go", 9), ("on", 9))]
    same = onnx.helper.make_node("Identity", ["go"], ["on"])
    body = onnx.helper.make_graph([same], "body", values[:2], values[2:])
    graph.node.append(onnx.helper.make_node("Loop", ["", ""], [], body=body))


def doubles_forty_times(graph):
    names = [graph.input[0].name, *(f"c{n}" for n in range(39)), "z"]
    nodes = (onnx.helper.make_node("Concat", [a, a], [b], axis=2) for a, b in itertools.pairwise(names))
    first(graph, *nodes)


def pads_widely(graph):
    conv = next(node for node in graph.node if node.op_type == "Conv")
    next(attribute for attribute in conv.attribute if attribute.name == "pads").ints[:] = [10**5] * 4


def multiplies_shapes(graph):
    for name, shape in (("a", (10**5, 1)), ("b", (1, 10**5))):
        graph.initializer.append(onnx.numpy_helper.from_array(np.zeros(shape, np.float32), name))
    graph.node.append(onnx.helper.make_node("Add", ["a", "b"], ["much"]))


def multiplies_hidden_shapes(graph):
    multiplies_shapes(graph)
    graph.input.append(onnx.helper.make_tensor_value_info("a", 1, [1, 1]))  # not what the weight's own says


def layer_of_its_own(graph):
    graph.node[0].domain = "com.example"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_inputs, "takes 0 inputs; expected one"),
        (two_inputs, "takes 2 inputs; expected one"),
        (whole_number_input, "expected one float32 input batch×1×28×28"),
        (other_size, "expected one float32 input batch×1×28×28"),
        (text_output, "does not give numbers"),
        (no_output, "does not give numbers"),
        (elsewhere, "in another file"),
        (larger_than_it_is, "is not as large as it says"),
        (overflowing_size, "is not as large as it says"),
        (negative_size, "is not as large as it says"),
        (not_a_number, "has numbers that are not finite"),
        (infinite, "has numbers that are not finite"),
        (fills_the_memory, "holds a layer ConstantOfShape"),
        (never_ends, "holds a layer Loop"),
        (doubles_forty_times, "'c16' would have an impossible size"),
        (pads_widely, "would have an impossible size"),
        (multiplies_shapes, "'much' would have an impossible size"),
        (multiplies_hidden_shapes, "'much' would have an impossible size"),
        (layer_of_its_own, "which no image classifier of this kind has"),
    ],
)
def test_onnx_files_of_others_are_refused_before_anything_is_run(folder, monkeypatch, change, reason):
    model = onnx.load("net.onnx")
    change(model.graph)
    Path("other.onnx").write_bytes(model.SerializeToString())
    monkeypatch.setattr(session, "InferenceSession", None)  # which takes memory
    result = CliRunner().invoke(main, ["classify", "other.onnx", "images"])
    assert result.exit_code == 2, result.output
    assert "other.onnx" in result.stderr
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


def test_functions_in_an_onnx_file_are_refused(folder):
    model = onnx.load("net.onnx")
    same = onnx.helper.make_node("Identity", ["x"], ["y"])
    opsets = [onnx.helper.make_opsetid("", 14)]
    model.functions.append(onnx.helper.make_function("", "Relu", ["x"], ["y"], [same], opsets))
    Path("other.onnx").write_bytes(model.SerializeToString())
    result = CliRunner().invoke(main, ["classify", "other.onnx", "images"])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "other.onnx defines layers of its own" in result.stderr


def test_sizes_left_open_are_taken_as_the_card_says(folder):
    model = onnx.load("net.onnx")
    for place, dim in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        dim.dim_param = f"d{place}"
    Path("open.onnx").write_bytes(model.SerializeToString())
    assert classified("open.onnx", "images") == classified("net.onnx", "images")


@pytest.mark.parametrize("change", ["header", "offsets", "nan", "wide", "directory"])
def test_safetensors_of_others_are_refused(folder, change):
    content, path = Path("net.safetensors").read_bytes(), Path("other.safetensors")
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    if change == "header":
        path.write_bytes((2**62).to_bytes(8, "little") + content[8:])
    elif change == "directory":
        path.mkdir()
    else:
        body = bytearray(content[8 + length :])
        name = next(key for key in header if key != "__metadata__")
        if change == "offsets":
            header[name]["shape"], header[name]["data_offsets"] = [2**40], [0, 2**42]
        if change == "nan":
            start = header["classifier.weight"]["data_offsets"][0]
            body[start : start + 4] = np.float32("nan").tobytes()
        if change == "wide":
            described = json.loads(header["__metadata__"]["model"])
            definition = json.loads(described["space_definition"])
            for stage in definition["stages"]:
                stage["width"] = 16_000
            described["space_definition"] = json.dumps(definition)
            header["__metadata__"]["model"] = json.dumps(described)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    result = CliRunner().invoke(main, ["classify", "other.safetensors", "images"])
    assert result.exit_code == 2, result.output
    assert "other.safetensors" in result.stderr
    assert result.stderr.count("\n") == 1
    if change == "nan":
        assert "'classifier.weight' has numbers that are not finite" in result.stderr
    if change == "wide":
        assert "does not fit its own metadata" in result.stderr


def test_onnx_needs_no_torch_and_no_project(folder):
    code = (
        "import sys; sys.modules['torch'] = None; from dεps.cli.main import main; "
        "sys.argv = ['deps', 'classify', 'net.onnx', 'images/0.png']; main()"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONUTF8": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("images/0.png: class")

"""Where the network looked: placed on the image as the network saw it, and shown over it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edge_runtime.cli import main
from edge_runtime.embedded_spec import embed
from edge_runtime.heatmap import Heatmap, draw_overlay, from_dict, heatmap_of
from edge_runtime.predictor import Predictor
from edge_runtime.spec import ModelSpec, Tensor

onnx = pytest.importorskip("onnx", reason="a network with two outputs is made with onnx")

SIDE, CELLS = 64, 4
SPEC = ModelSpec("looking", SIDE, "pad", "bilinear", ("not fractured", "fractured"), 0.5, "radiograph")


@pytest.fixture(scope="module")
def looking_model(tmp_path_factory):
    """A network whose map is how bright each of 4 x 4 cells is, and whose probability is the brightest."""
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Transpose", ["grey"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Transpose", ["cells"], ["heatmap"], perm=[0, 2, 3, 1]),
        helper.make_node("GlobalMaxPool", ["cells"], ["most"]),
        helper.make_node("Flatten", ["most"], ["probability"]),
    ]
    shapes = {"probability": (1, 1), "heatmap": (1, CELLS, CELLS, 1)}
    outputs = [helper.make_tensor_value_info(name, floats, shape) for name, shape in shapes.items()]
    grey = helper.make_tensor_value_info("grey", floats, (1, SIDE, SIDE, 1))
    graph = helper.make_graph(nodes, "looking", [grey], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    spec = SPEC.with_tensors(tuple(Tensor(name, "float32") for name in ("grey", *shapes)))
    path = tmp_path_factory.mktemp("model") / "looking.onnx"
    path.write_bytes(embed(model.SerializeToString(), spec, ".onnx"))
    return path


@pytest.fixture
def spotted(tmp_path):
    """A wide image, 256 x 128, with a bright square in its lower right quarter."""
    image_u8 = np.full((128, 256), 20, np.uint8)
    image_u8[64:128, 192:256] = 230
    path = tmp_path / "spotted.png"
    Image.fromarray(image_u8).save(path)
    return path


def test_the_strongest_region_is_told_in_shares_of_the_image(looking_model, spotted):
    prediction = Predictor(looking_model, radiograph_gate=False).predict(spotted, heatmap=True)
    # Padded to a square the image takes the two middle rows of cells; the bright one is the last of the lower.
    assert prediction.heatmap["box"] == pytest.approx([0.75, 0.5, 1.0, 1.0])
    assert prediction.heatmap["region"] == pytest.approx([0.0, -0.5, 1.0, 1.5])
    assert prediction.probability == pytest.approx(230 / 255, abs=0.02)


def test_the_point_lies_between_cells_that_share_the_weight():
    values = np.zeros((4, 4), np.float32)
    values[1, 1], values[1, 2] = 0.6, 0.5
    assert Heatmap(values, (0.0, 0.0, 1.0, 1.0)).point() == pytest.approx(((0.6 * 1.5 + 0.5 * 2.5) / 1.1 / 4, 1.5 / 4))
    # The image is the middle half of the map: half a cell is as wide as a cell of the image.
    assert Heatmap(values, (-0.5, 0.0, 1.5, 1.0)).point() == pytest.approx(
        ((0.6 * 1.5 + 0.5 * 2.5) / 1.1 / 2 - 0.5, 0.375)
    )
    corner = np.zeros((4, 4), np.float32)
    corner[0, 0] = 1.0
    assert Heatmap(corner, (-0.5, -0.5, 1.5, 1.5)).point() == (0.0, 0.0)  # in the padding: at the image's edge
    assert Heatmap(corner * 0, (0.0, 0.0, 1.0, 1.0)).point() is None


def test_without_being_asked_nothing_is_told(looking_model, spotted):
    assert "heatmap" not in Predictor(looking_model, radiograph_gate=False).predict(spotted).to_dict()


def test_a_network_without_a_map_gives_none(tiny_bundle, golden_images):
    predictor = Predictor(tiny_bundle)
    assert not predictor.has_heatmap
    assert predictor.predict(golden_images[0], heatmap=True).heatmap is None


def test_the_picture_shows_the_map_where_it_lies(spotted):
    image_u8 = np.asarray(Image.open(spotted))
    values = np.zeros((CELLS, CELLS), np.float32)
    values[2, 3] = 1.0
    picture = np.asarray(draw_overlay(image_u8, heatmap_of({"heatmap": values[..., None]}, image_u8.shape, SPEC)))
    colourful = np.ptp(picture[:128].astype(int), axis=-1)
    assert colourful[96, 224] > 30 and colourful[32, 64] == 0  # the middle of that cell; far from it
    assert picture.shape[1] == 256 and picture.shape[0] > 128  # the scale and the words below
    assert picture[128:].max() == 255


@pytest.mark.parametrize("shape", [(40, 30), (3000, 2000), (500, 33)])
def test_pictures_of_any_size_are_drawn(shape):
    heatmap = heatmap_of({"heatmap": np.full((CELLS, CELLS, 1), 0.5, np.float32)}, shape, SPEC)
    assert draw_overlay(np.zeros(shape, np.uint8), heatmap).width == shape[1]


def test_a_region_hangs_together_by_its_sides():
    values = np.zeros((4, 4), np.float32)
    values[0, 0], values[0, 1], values[3, 3] = 1.0, 0.6, 0.9
    assert Heatmap(values, (0, 0, 1, 1)).strongest() == (0.0, 0.0, 0.5, 0.25)
    assert Heatmap(np.zeros((4, 4), np.float32), (0, 0, 1, 1)).strongest() is None


def test_a_map_survives_json():
    heatmap = Heatmap(np.arange(6, dtype=np.float32).reshape(2, 3) / 8, (0.0, -0.25, 1.0, 1.25))
    again = from_dict(json.loads(json.dumps(heatmap.to_dict())))
    np.testing.assert_array_equal(again.values, heatmap.values)
    assert again.region == heatmap.region


def infer(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_pictures_of_several_images_go_to_a_folder_under_names_of_their_own(looking_model, spotted, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / spotted.name).write_bytes(spotted.read_bytes())
    given = ("--model", looking_model, "--no-radiograph-gate", "--json")
    done = infer(*given, "--heatmap", tmp_path / "maps", spotted, tmp_path / "more")
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "maps").iterdir()} == {
        "spotted.png.heatmap.png",
        "spotted.png.2.heatmap.png",
    }
    assert json.loads(done.stdout.splitlines()[0])["heatmap"]["box"] == pytest.approx([0.75, 0.5, 1.0, 1.0])
    one = infer(*given, "--heatmap", tmp_path / "one.png", spotted)
    assert one.exit_code == 0
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width == 256


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [("folder", 2, ".png file was expected"), ("x.jpg", 2, ".png file was expected")],
)
def test_a_wrong_target_is_told(looking_model, spotted, tmp_path, target, code, says):
    (tmp_path / "folder").mkdir()
    done = infer("--model", looking_model, "--heatmap", tmp_path / target, spotted)
    assert done.exit_code == code and says in done.stderr


def test_a_network_that_has_none_is_told(tiny_bundle, golden_images, tmp_path):
    done = infer("--model", tiny_bundle, "--heatmap", tmp_path / "x.png", golden_images[0])
    assert done.exit_code == 3 and "has no heatmap" in done.stderr


def test_turned_images_are_judged_by_their_mean(tiny_bundle, golden_images):
    predictor = Predictor(tiny_bundle)
    image_u8 = np.asarray(Image.open(golden_images[3]))
    alone = [predictor.probability(np.ascontiguousarray(np.rot90(image_u8, turn))) for turn in range(4)]
    for turns in (1, 2, 4):
        expected = np.mean(alone[:: 4 // turns])
        assert predictor.predict(golden_images[3], turns=turns).probability == pytest.approx(expected)
    done = infer("--model", tiny_bundle, "--tta", "4", "--json", golden_images[3])
    assert json.loads(done.stdout)["probability"] == pytest.approx(np.mean(alone))

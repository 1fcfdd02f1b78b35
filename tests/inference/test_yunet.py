"""YuNet's own model is not here; a model that answers in its form, always the same, is."""

from pathlib import Path

import numpy as np
import pytest

from mtlface.errors import MtlfaceError
from mtlface.inference.yunet import YuNet

onnx = pytest.importorskip("onnx")

SIDE, STRIDES = 64, (8, 16, 32)
CHANNELS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def write_model(path: Path) -> Path:
    """One face in the cell of row 3, column 3 of the finest grid, whatever the picture."""
    from onnx import TensorProto, helper, save

    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[0, 1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["flat"]),
        helper.make_node("Mul", ["flat", "zero"], ["nothing"]),
    ]
    constants = [
        helper.make_tensor("shape", TensorProto.INT64, [3], [1, 1, 1]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1, 1, 1], [0.0]),
    ]
    outputs = []
    for kind, channels in CHANNELS.items():
        for stride in STRIDES:
            name, values = f"{kind}_{stride}", np.zeros((1, (SIDE // stride) ** 2, channels))
            if stride == 8:
                cell = {"bbox": [0.5, 0.5, np.log(2), np.log(3)], "kps": np.arange(10) / 10}
                values[0, 3 * 8 + 3] = cell.get(kind, 1.0)
            constant = helper.make_tensor(f"{name}_c", 1, values.shape, values.ravel())
            constants.append(constant)
            nodes.append(helper.make_node("Add", [f"{name}_c", "nothing"], [name]))
            outputs.append(helper.make_tensor_value_info(name, 1, values.shape))
    picture = helper.make_tensor_value_info("input", 1, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "yunet", [picture], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 7
    save(model, path)
    return path


@pytest.fixture(autouse=True)
def as_large_as_the_model(monkeypatch):
    monkeypatch.setattr("mtlface.inference.detect.SEARCHED_SIDE", SIDE)


def test_boxes_and_eyes_are_pixels_of_the_picture_left_eye_first(tmp_path):
    detect = YuNet(write_model(tmp_path / "yunet.onnx"))
    (face,) = detect(np.zeros((SIDE, SIDE, 3), np.uint8))
    # YuNet's form: cell and half a stride for the middle, exp(size) strides for the sides.
    assert face.box == pytest.approx((20, 16, 16, 24))
    np.testing.assert_allclose(face.eyes, [[24.0, 24.8], [25.6, 26.4]], rtol=1e-5)
    assert face.score == pytest.approx(1.0)


def test_images_of_any_size_are_searched_alike_and_told_in_their_own_pixels(tmp_path):
    detect = YuNet(write_model(tmp_path / "yunet.onnx"))
    (face,) = detect(np.zeros((5 * SIDE, 5 * SIDE, 3), np.uint8))
    assert face.box == pytest.approx((100, 80, 80, 120))


def test_a_file_that_is_no_model_is_one_clear_error(tmp_path):
    (tmp_path / "yunet.onnx").write_bytes(b"no model")
    with pytest.raises(MtlfaceError, match="no YuNet model"):
        YuNet(tmp_path / "yunet.onnx")

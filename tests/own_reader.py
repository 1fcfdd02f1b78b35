"""The README's own reader, kept where a user would keep it, for tests of one's own data."""

from pathlib import Path

from PIL import Image

READER = """
from dataclasses import dataclass

import pandas as pd

from mtlface.data.schema import Binary, Labels, Number
from mtlface.data.table import FaceTable


@dataclass(frozen=True)
class MyFaces:
    layout = "labels.csv with the columns image, split (train, val, test), gender, age"

    def labels(self) -> Labels:
        return Labels([Binary("gender", ("female", "male")), Number("age", 0, 116, "years")])

    def read(self, root, seed) -> FaceTable:
        return FaceTable(pd.read_csv(root / "labels.csv"), self.labels(), root)
"""
BACKBONE = """
from torch import nn

from mtlface.models import Backbone


def tiny_net(width: int = 8) -> Backbone:
    layers = [nn.Conv2d(3, width, 3, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return Backbone(nn.Sequential(*layers), features=width)
"""
BACKBONE_CONFIG = """# My own convolution.
_target_: my_faces_of_tests.tiny_net
width: 6
"""
CONFIG = """# My faces.
defaults: [_base, _self_]
name: myfaces
reader: {_target_: my_faces_of_tests.MyFaces}
"""


def write_own_reader(folder: Path, rows: int = 24) -> list[str]:
    """Writes a module with a reader and a backbone, their configs in `my_conf`, and `faces/`.

    Every fourth row is of the validation split and every fourth of the test split.

    Returns:
        The words that train on it from the command line; `folder` must be importable.
    """
    (folder / "my_faces_of_tests.py").write_text(READER + BACKBONE)
    for group in ("data", "backbone"):
        (folder / "my_conf" / group).mkdir(parents=True)
    (folder / "my_conf" / "backbone" / "tinynet.yaml").write_text(BACKBONE_CONFIG)
    (folder / "my_conf" / "data" / "myfaces.yaml").write_text(CONFIG)
    (folder / "faces").mkdir()
    lines = ["image,split,gender,age"]
    for i in range(rows):
        Image.new("RGB", (20, 30), (9 * i % 256, 90, 60)).save(folder / "faces" / f"{i}.png")
        lines.append(f"{i}.png,{('train', 'train', 'val', 'test')[i % 4]},{i // 4 % 2},{20 + i}")
    (folder / "faces" / "labels.csv").write_text("\n".join(lines) + "\n")
    return [
        "--config-dir",
        str(folder / "my_conf"),
        "data=myfaces",
        f"data.root={folder / 'faces'}",
    ]

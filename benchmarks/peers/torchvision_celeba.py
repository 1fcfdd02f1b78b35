"""Reading faces through torchvision's own CelebA data set."""

from pathlib import Path

import numpy as np
from torchvision.datasets import CelebA
from torchvision.transforms import v2

PICTURES = Path("celeba", "img_align_celeba")
WIDTHS = {"list_attr_celeba": 40, "list_bbox_celeba": 4, "list_landmarks_align_celeba": 10}


class Unchecked(CelebA):
    """CelebA whose files are not compared with the checksums of the original ones."""

    def _check_integrity(self) -> bool:
        return True


def celeba_layout(root: Path) -> Path:
    """Makes the folders that torchvision expects, and returns the one of the pictures."""
    folder = root / PICTURES
    folder.mkdir(parents=True)
    return folder


def read_all(names: list[str], pictures: Path, size: tuple[int, int]) -> np.ndarray:
    """Every picture with its labels through the data set, as uint8 (N, H, W, 3).

    Args:
        names: Files below `pictures`.
        pictures: What `celeba_layout` made.
        size: Height and width.
    """
    if not (pictures.parent / "list_eval_partition.txt").exists():
        _write_labels(names, pictures.parent)
    resized = v2.Compose([v2.Resize(size), v2.PILToTensor()])
    faces = Unchecked(str(pictures.parent.parent), split="all", transform=resized)
    array = np.empty((len(names), *size, 3), dtype=np.uint8)
    for row in range(len(faces)):
        image, _ = faces[row]
        array[row] = image.permute(1, 2, 0).numpy()
    return array


def _write_labels(names: list[str], folder: Path) -> None:
    plain = {"list_eval_partition": "0", "identity_CelebA": "1"}
    for file, value in plain.items():
        (folder / f"{file}.txt").write_text("".join(f"{name} {value}\n" for name in names))
    for file, width in WIDTHS.items():
        header = " ".join(f"column{i}" for i in range(width))
        rows = "".join(f"{name} {' '.join(['1'] * width)}\n" for name in names)
        (folder / f"{file}.txt").write_text(f"{len(names)}\n{header}\n{rows}")

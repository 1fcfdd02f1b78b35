"""Tiny real folders in the native layouts, for tests that then break them."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from mtlface.data.celeba import ATTRIBUTES

LANDMARKS = (
    "lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,"
    "leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y"
)
FACE = [69, 109, 106, 113, 77, 142, 73, 152, 108, 154]  # CelebA's first picture


def jpeg(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (2, 2), shade % 256).save(buffer, "JPEG")
    return buffer.getvalue() + str(shade).encode()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def celeba_attributes(n: int) -> np.ndarray:
    """0 and 1; attribute k of picture i is 1 where i + k is divisible by 3."""
    return ((np.arange(n)[:, None] + np.arange(40)) % 3 == 0).astype(int)


def celeba(root: Path, n: int = 6, pictures: str = "img_align_celeba/img_align_celeba") -> Path:
    """Kaggle's layout with pictures 000001.jpg …, partitions 0, 1, 2, 0, 1, 2, …"""
    names = [f"{i:06d}.jpg" for i in range(1, n + 1)]
    for i, name in enumerate(names):
        put(root / pictures / name, jpeg(i))
    codes = celeba_attributes(n) * 2 - 1
    rows = ["image_id," + ",".join(ATTRIBUTES)]
    rows += [f"{name}," + ",".join(map(str, row)) for name, row in zip(names, codes, strict=True)]
    put(root / "list_attr_celeba.csv", "\n".join(rows) + "\n")
    points = [f"{name}," + ",".join(map(str, np.array(FACE) + i)) for i, name in enumerate(names)]
    put(root / "list_landmarks_align_celeba.csv", "\n".join([f"image_id,{LANDMARKS}", *points]))
    parts = [f"{name},{i % 3}" for i, name in enumerate(names)]
    put(root / "list_eval_partition.csv", "\n".join(["image_id,partition", *parts]) + "\n")
    return root


def celeba_txt(root: Path, n: int = 6) -> Path:
    """The original layout: Anno, Eval and Img, blank-separated, with a count line."""
    csv = celeba(root, n, pictures="Img/img_align_celeba")
    for stem in ("list_attr_celeba", "list_landmarks_align_celeba"):
        header, *rows = (csv / f"{stem}.csv").read_text().split()
        text = [str(n), header.removeprefix("image_id,").replace(",", " ") + " "]
        text += [" ".join(f"{cell:>2}" for cell in row.split(",")) for row in rows]
        put(root / "Anno" / f"{stem}.txt", "\n".join(text) + "\n")
        (csv / f"{stem}.csv").unlink()
    partition = csv / "list_eval_partition.csv"
    put(
        root / "Eval" / "list_eval_partition.txt",
        "\n".join(partition.read_text().replace(",", " ").split("\n")[1:]),
    )
    partition.unlink()
    people = "\n".join(f"{i:06d}.jpg {2880 + i % 2}" for i in range(1, n + 1))
    put(root / "Anno" / "identity_CelebA.txt", people)
    return root


def utkface(root: Path, names: list[str], folder: str = "UTKFace") -> Path:
    for i, name in enumerate(names):
        put(root / folder / name, jpeg(i))
    return root


def utk_name(age: int, gender: int, race: int, number: int = 0) -> str:
    return f"{age}_{gender}_{race}_{20170109000000000 + number}.jpg.chip.jpg"


def competition(root: Path, train: str, test: str | None = None) -> Path:
    put(root / "train.csv", train)
    if test is not None:
        put(root / "test.csv", test)
    put(root / "sample_submission.csv", "id,age,gender\n")
    for split in ("train", "test"):
        for i in range(6):
            put(root / "face_dataset" / split / f"{i:05d}.jpg", jpeg(i + 100 * (split == "test")))
    return root


def facecom(root: Path, entries: object) -> Path:
    put(root / "annotations.json", json.dumps(entries))
    put(root / "images" / "a.jpg", jpeg(0))
    return root


def hackathon(root: Path) -> Path:
    """Both tasks; five people in training with two clear pictures each, one new one in val."""
    for split, men, women in (("train", 6, 3), ("val", 2, 1)):
        for gender, count in (("male", men), ("female", women)):
            for i in range(count):
                put(root / "Task_A" / split / gender / f"{gender}{i}.jpg", jpeg(i))
    for split, people in (("train", range(5)), ("val", range(5, 6))):
        for person in people:
            for clear in ("one", "two"):
                folder = root / "Task_B" / split / f"{person:03d}_frontal"
                put(folder / f"{clear}.jpg", jpeg(person))
                for weather in (
                    "blurred",
                    "foggy",
                    "lowlight",
                    "noisy",
                    "rainy",
                    "resized",
                    "sunny",
                ):
                    put(folder / "distortion" / f"{clear}_{weather}.jpg", jpeg(person))
    return root

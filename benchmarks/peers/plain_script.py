"""One arm of the demo as a short script: ResNet-18 on CelebA's rendered faces, 64 px, bf16.

python -m benchmarks.peers.plain_script landmarks_gender     # prints its test figures as JSON

The yardstick for `make demo`. Pictures are decoded once, then everything is tensors: batch 32,
eight epochs, the best epoch by validation is tested. Nothing is made slow on purpose.
"""

import argparse
import copy
import io
import json
import zipfile
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torchvision import models, transforms

DEMO = Path(__file__).parents[2] / "mtlface" / "data" / "demo" / "celeba.zip"
# Whether gender and landmarks are learnt.
ARMS = {"gender": (1, 0), "landmarks": (0, 1), "landmarks_gender": (1, 1), "improved": (1, 1)}
POINTS = ["lefteye", "righteye", "nose"]


def read(archive: Path, side: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Pictures (N, 3, side, side), genders (N,) and points (N, 6) of the three splits."""
    prepare = transforms.Compose(
        [
            transforms.Resize((side, side)),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    with zipfile.ZipFile(archive) as files:
        names = {name.rsplit("/")[-1]: name for name in files.namelist()}

        def csv(name: str) -> pd.DataFrame:
            return pd.read_csv(io.BytesIO(files.read(names[name])))

        table = csv("list_attr_celeba.csv").merge(csv("list_landmarks_align_celeba.csv"))
        table = table.merge(csv("list_eval_partition.csv"))
        opened = (Image.open(io.BytesIO(files.read(names[n]))) for n in table["image_id"])
        pictures = torch.stack([prepare(image.convert("RGB")) for image in opened])
    gender = torch.tensor((table["Male"] > 0).to_numpy()).float()
    columns = [f"{point}_{axis}" for point in POINTS for axis in "xy"]
    points = torch.tensor(table[columns].to_numpy()).float()
    parts = [torch.tensor((table["partition"] == n).to_numpy()) for n in range(3)]
    return [(pictures[part], gender[part], points[part]) for part in parts]


def wing(found: Tensor, truth: Tensor, width: float = 10.0, curvature: float = 2.0) -> Tensor:
    """Wing loss (Feng et al. 2018)."""
    error = (found - truth).abs()
    rest = width - width * torch.log(torch.tensor(1 + width / curvature))
    return torch.where(error < width, width * torch.log(1 + error / curvature), error - rest).mean()


def figures(
    network: nn.Module, learnt: tuple[int, int], pictures: Tensor, gender: Tensor, points: Tensor
) -> dict[str, float]:
    """Accuracy and inter-ocular NME, of what was learnt."""
    network.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        output = torch.cat([network(batch) for batch in pictures.split(64)]).float()
    eyes = (points[:, :2] - points[:, 2:4]).norm(dim=1)
    errors = (output[:, 1:] - points).view(-1, 3, 2).norm(dim=2).mean(dim=1)
    found = {
        "gender/accuracy": ((output[:, 0] > 0) == gender.bool()).float().mean().item(),
        "landmarks/nme": (errors / eyes).mean().item(),
    }
    return {k: v for k, v, w in zip(found, found.values(), learnt, strict=True) if w}


def train(
    arm: str, archive: Path, epochs: int, side: int = 64, batch: int = 32
) -> dict[str, float]:
    """Trains an arm and returns its test figures."""
    train_split, val_split, test_split = read(archive, side)
    torch.manual_seed(0)
    learnt, improved = ARMS[arm], arm == "improved"
    network = models.resnet18(num_classes=7)
    pictures, gender, points = train_split
    if improved:
        network.fc.bias.data[1:] = points.mean(dim=0)
    network = network.to(memory_format=torch.channels_last)
    optimizer: torch.optim.Optimizer
    if improved:
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
        steps = epochs * -(-len(pictures) // batch)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    else:
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    best, kept = float("inf"), network.state_dict()
    for _ in range(epochs):
        network.train()
        for rows in torch.randperm(len(pictures)).split(batch):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                output = network(pictures[rows].to(memory_format=torch.channels_last)).float()
            loss = torch.zeros(())
            if learnt[0]:
                loss = loss + F.binary_cross_entropy_with_logits(output[:, 0], gender[rows])
            if learnt[1] and improved:
                loss = loss + 0.5 * wing(output[:, 1:], points[rows])
            elif learnt[1]:
                loss = loss + F.mse_loss(output[:, 1:], points[rows])
            loss.backward()
            optimizer.step()
            if improved:
                cycle.step()
        found = figures(network, learnt, *val_split)
        error = sum(1 - v if name.startswith("gender") else v for name, v in found.items())
        if error < best:
            best, kept = error, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return figures(network, learnt, *test_split)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("arm", choices=ARMS)
    parser.add_argument("--archive", type=Path, default=DEMO)
    parser.add_argument("--epochs", type=int, default=8)
    chosen = parser.parse_args()
    print(json.dumps(train(chosen.arm, chosen.archive, chosen.epochs)))

"""A training loop as a course project has it: Pillow, torchvision transforms, fp32.

Nothing is made slow on purpose, and nothing is tuned: it is what the tutorials of torchvision and
PyTorch add up to.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms


class FaceDataset(Dataset):
    """Opens a picture when it is asked for."""

    def __init__(self, files: Sequence[Path], genders: Sequence[int], side: int) -> None:
        self.files, self.genders = files, genders
        self.transform = transforms.Compose(
            [
                transforms.Resize((side, side)),
                transforms.RandomHorizontalFlip(),
                transforms.RandomRotation(10),
                transforms.ColorJitter(brightness=0.2, contrast=0.2),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = Image.open(self.files[index]).convert("RGB")
        return self.transform(image), self.genders[index]


class SeedStyle:
    """ResNet-18 with one logit, Adam, a running loss and accuracy.

    Args:
        files: The pictures.
        genders: 0 or 1 for each.
        side: Of the working pictures, in pixels.
        batch_size: Pictures in a step.
        workers: Worker processes.
        device: Where to train.
    """

    def __init__(
        self,
        files: Sequence[Path],
        genders: Sequence[int],
        side: int,
        batch_size: int,
        workers: int,
        device: torch.device,
    ) -> None:
        self.device = device
        self.loader = DataLoader(
            FaceDataset(files, genders, side),
            batch_size=batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=workers > 0,
        )
        self.model = models.resnet18(weights=None)
        self.model.fc = nn.Linear(self.model.fc.in_features, 1)
        self.model.to(device)
        self.criterion = nn.BCEWithLogitsLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def train_epoch(self) -> tuple[float, float]:
        """One epoch; returns its mean loss and accuracy."""
        self.model.train()
        total_loss, correct, seen = 0.0, 0, 0
        for images, genders in self.loader:
            images, genders = images.to(self.device), genders.to(self.device)
            self.optimizer.zero_grad()
            logits = self.model(images)[:, 0]
            loss = self.criterion(logits, genders.float())
            loss.backward()
            self.optimizer.step()
            total_loss += loss.item() * len(images)
            correct += ((logits > 0) == genders).sum().item()
            seen += len(images)
        return total_loss / seen, correct / seen

"""How many kernels an ordinary step of ResNet-18 launches: a table that may only fall.

In fp32, as bf16 convolutions are slow on most CPUs; autocast adds 59 casts.
"""

import pytest
from pretend_fit import trained_on_the_device

LAUNCHES = {"none": 200, "flip": 211, "basic": 234, "strong": 251}


@pytest.mark.parametrize("augment", LAUNCHES)
def test_augmentation(composed, tmp_path, augment):
    settings = ("backbone=resnet18", f"augment={augment}", "trainer.precision=32-true")
    steps, _ = trained_on_the_device(composed, tmp_path, *settings)
    assert max(step.launches for step in steps) <= LAUNCHES[augment]

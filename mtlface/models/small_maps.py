"""Convolutions over small maps as matrix products: the end of a trunk, several times as fast."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

# Found on x86-64 with oneDNN, in fp32 and bf16: on larger maps and in narrower layers its
# convolutions are as fast as its matrix products.
LARGEST_MAP = 4 * 4
FEWEST_CHANNELS = 256


class SmallMapConv2d(nn.Conv2d):
    """A convolution that trains on small maps as one matrix product, where the CPU computes.

    At 64 px a ResNet ends in maps of 2×2, on which a CPU's convolutions, above all the gradient of
    their weights, reach a tenth of the speed of its matrix products. Weights and results are those
    of `nn.Conv2d`, to rounding. On other devices, on larger maps and wherever no gradient is asked
    for (evaluation, export), it is `nn.Conv2d`.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Returns (B, D, H', W') of (B, C, H, W)."""
        if input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        height, width = self._positions(input, axis=0), self._positions(input, axis=1)
        if height * width > LARGEST_MAP:
            return super().forward(input)
        top, left = (int(margin) for margin in self.padding)
        down, right = self.stride
        padded = pad(input, (left, left, top, top)).permute(0, 2, 3, 1)
        # What the taps of the kernel see at each position: (B, H', W', C, taps).
        seen = torch.stack(
            [
                padded[:, y : y + height * down : down, x : x + width * right : right]
                for y in range(self.kernel_size[0])
                for x in range(self.kernel_size[1])
            ],
            dim=-1,
        )
        return linear(seen.flatten(3), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)

    def _positions(self, input: Tensor, axis: int) -> int:
        """How often the kernel fits along H (0) or W (1): the output's size there."""
        side = input.shape[2 + axis] + 2 * int(self.padding[axis])
        return (side - self.kernel_size[axis]) // self.stride[axis] + 1


def multiply_small_maps(trunk: nn.Module) -> None:
    """Turns a trunk's wide convolutions into `SmallMapConv2d`, in place.

    Their weights get torch's own layout, of which Adam's fused CPU kernel makes no copies.
    Layers with groups, dilation or a padding other than a number of zeros stay as they are.
    """
    for layer in trunk.modules():
        if (
            type(layer) is nn.Conv2d
            and layer.out_channels >= FEWEST_CHANNELS
            and layer.groups == 1
            and layer.dilation == (1, 1)
            and layer.padding_mode == "zeros"
            and isinstance(layer.padding, tuple)
        ):
            layer.__class__ = SmallMapConv2d
            layer.to(memory_format=torch.contiguous_format)

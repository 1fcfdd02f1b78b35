"""The network as others run it: pixels in, named outputs in human units; as ONNX and torch.export.

The normalisation of the pixels and the last step of every task are part of the model, so that
nobody has to write them again.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mtlface.atomic import atomic_write
from mtlface.errors import MtlfaceError
from mtlface.inference.network import Network
from mtlface.inference.outputs import exported_all
from mtlface.training.module import MultiTaskModule

INPUT = "images"
TOLERANCE = 1e-4
OPSET = 18


class Portable(nn.Module):
    """A backbone, its branches and tasks, nothing else.

    Args:
        module: The trained network.
    """

    def __init__(self, module: MultiTaskModule) -> None:
        super().__init__()
        self.backbone = module.backbone
        self.branches = nn.ModuleDict(dict(module.branches))
        self.tasks = nn.ModuleDict(dict(module.tasks))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Pictures (B, 3, H, W), uint8 or float in 0..255, to the outputs in their order."""
        features = self.backbone(images.float())
        outputs = {
            name: task(self.branches[name](features, images)) for name, task in self.tasks.items()
        }
        return tuple(exported_all(self.tasks, outputs).values())  # type: ignore[arg-type]


def portable(network: Network) -> Portable:
    """The part of a network that is exported, on the CPU in eval mode."""
    return Portable(network.module.cpu()).eval()


def example(network: Network, count: int, kind: torch.dtype = torch.uint8) -> Tensor:
    """Random pictures, (count, 3, H, W) in 0..255."""
    draw = torch.Generator().manual_seed(count)
    pictures = torch.randint(0, 256, (count, 3, *network.frame), generator=draw)
    return pictures.to(kind)


def export_onnx(network: Network, names: list[str], kind: torch.dtype, path: Path) -> float:
    """Writes `model.onnx` with a free batch size, and runs it beside the network.

    Args:
        network: The network.
        names: Of the outputs, in their order.
        kind: Of the input: uint8 or float32.
        path: The file.

    Returns:
        The largest difference between the two, relative where values are above 1.

    Raises:
        MtlfaceError: onnx or onnxruntime is missing, or the two disagree by more than 1e-4.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MtlfaceError(
            f"{error.name} is not installed: pip install 'mtlface[export]', or leave ONNX out with "
            "onnx=false."
        ) from error
    model = portable(network)
    with _quiet():
        program = torch.onnx.export(
            model,
            (example(network, 2, kind),),
            input_names=[INPUT],
            output_names=names,
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch", min=1)}},
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # the paths of this machine's Python files
        with atomic_write(path) as file:
            file.write(program.model_proto.SerializeToString())
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        difference = 0.0
        for count in (1, 3):
            pictures = example(network, count, kind)
            answers = session.run(names, {INPUT: pictures.numpy()})
            difference = max(difference, _difference(model, pictures, answers))
    except Exception as error:  # onnxruntime's errors have no base class of their own
        path.unlink()
        raise MtlfaceError(
            f"onnxruntime cannot run the exported model ({str(error).splitlines()[0][:200]}). It "
            "was not kept; onnx=false exports the rest."
        ) from error
    if difference > TOLERANCE:
        path.unlink()
        raise MtlfaceError(
            f"The ONNX model differs from the network by {difference:.1e}, more than {TOLERANCE}. "
            "It was not kept; onnx=false exports the rest."
        )
    return difference


def export_program(network: Network, kind: torch.dtype, path: Path) -> float:
    """Writes `model.pt2` with a free batch size; `torch.export.load(path).module()` runs it.

    Returns:
        The largest difference to the network, relative where values are above 1.
    """
    model = portable(network)
    with _quiet():
        program = torch.export.export(
            model,
            (example(network, 2, kind),),
            dynamic_shapes={INPUT: {0: torch.export.Dim("batch", min=1)}},
        )
        for part in program.graph_module.modules():
            for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
                node.meta.pop("stack_trace", None)  # the paths of this machine's Python files
        archive = io.BytesIO()  # torch asks that a file on disk is called .pt2
        torch.export.save(program, archive)
        with atomic_write(path) as file:
            file.write(archive.getbuffer())
        again = torch.export.load(str(path)).module()
    pictures = example(network, 3, kind)
    with torch.inference_mode():
        return _difference(model, pictures, [answer.numpy() for answer in again(pictures)])


@torch.inference_mode()
def _difference(model: Portable, pictures: Tensor, answers: list[np.ndarray]) -> float:
    return max(
        float((np.abs(answer - own.numpy()) / np.maximum(1, np.abs(own.numpy()))).max())
        for answer, own in zip(answers, model(pictures), strict=True)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters tell of their inner life, which nobody here can mend."""
    loud = logging.getLogger("torch.onnx"), logging.getLogger("onnxscript")
    levels = [logger.level for logger in loud]
    try:
        for logger in loud:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loud, levels, strict=True):
            logger.setLevel(level)

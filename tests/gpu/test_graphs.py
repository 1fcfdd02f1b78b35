"""`compile=true` compiles: at least one graph, none of them broken, and few of them."""

import functools

import pytest
import torch
from lightning import Trainer
from torch._dynamo.utils import counters

from mtlface.door import config_folder
from mtlface.training.build import build_datamodule, build_module

BACKBONES = sorted(path.stem for path in (config_folder() / "backbone").glob("*.yaml"))
OFTEN_RUN = {"cnn3_bn", "cnn9"}
MOST = 3  # a training batch, one of any size, and evaluation

QUIET = {
    "accelerator": "cpu", "logger": False, "enable_checkpointing": False,
    "enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0,
    "use_distributed_sampler": False,
}  # fmt: skip


@pytest.fixture
def counted(monkeypatch):
    """Torch's compiler, whose back end does nothing but count the graphs that it gets."""
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=count))
    yield graphs
    torch._dynamo.reset()


@pytest.mark.parametrize(
    "backbone",
    [b if b in OFTEN_RUN else pytest.param(b, marks=pytest.mark.slow) for b in BACKBONES],
)
def test_a_compiled_backbone_is_a_few_whole_graphs(composed, counted, backbone):
    # 16 pictures by 6: a last batch of 4. The 4 of validation are a batch of another size.
    cfg = composed("experiment=tiny", f"backbone={backbone}", "compile=true", "data.batch_size=6")
    datamodule = build_datamodule(cfg)
    module = build_module(cfg, datamodule.table.labels)
    datamodule.batch_labels = ("gender", "landmarks")
    Trainer(max_epochs=2, **QUIET).fit(module, datamodule)
    assert 1 <= len(counted) <= MOST
    assert not counters["graph_break"]

"""What a run takes of a machine's GPUs: the precision, and which of several."""

import os

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.profilers import SimpleProfiler
from omegaconf import OmegaConf
from pretend_cuda import pretend_cuda

from mtlface.training.build import build_trainer, choose_devices, choose_precision
from mtlface.training.hooks import NoProfiler, hide_absent_gpu
from mtlface.training.selection import monitor_of


def test_a_gpu_that_only_emulates_bf16_gets_fp16():
    with pretend_cuda(bf16=False):
        assert choose_precision("auto", "auto") == choose_precision("auto", "gpu") == "16-mixed"
        assert choose_precision("auto", "cpu") == "32-true"
        assert choose_precision("native", "gpu") == "16-mixed"
        assert choose_precision("bf16-mixed", "gpu") == "bf16-mixed"
    with pretend_cuda():
        assert choose_precision("auto", "auto") == "bf16-mixed"


@pytest.fixture
def job(monkeypatch):
    """Makes this the job of a sweep with a number, or of none with None."""

    def number(num):
        config = OmegaConf.create({"job": {"num": "???" if num is None else num}})
        monkeypatch.setattr(HydraConfig, "initialized", staticmethod(lambda: True))
        monkeypatch.setattr(HydraConfig, "get", staticmethod(lambda: config))

    return number


def test_jobs_of_a_sweep_take_turns_over_the_gpus(job):
    with pretend_cuda(gpus=4):
        chosen = []
        for num in (0, 1, 5, None):
            job(num)
            chosen.append(choose_devices(1, "auto"))
        assert chosen == [[0], [1], [1], [0]]
        assert choose_devices(2, "gpu") == 2 and choose_devices([3], "gpu") == [3]
        assert choose_devices(1, "cpu") == 1


def test_outside_of_a_sweep_the_first_gpu_is_taken():
    with pretend_cuda():
        assert choose_devices(1, "gpu") in (1, [0])


@pytest.mark.parametrize(("amx", "expected"), [(True, "bf16-mixed"), (False, "32-true")])
def test_the_demo_takes_bf16_only_from_a_cpu_that_computes_in_it(monkeypatch, amx, expected):
    """A CPU that emulates bf16 took ten times as long for a step as it takes in fp32."""
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr("torch.cpu._is_amx_tile_supported", lambda: amx)
    assert choose_precision("native", "cpu") == expected
    assert choose_precision("auto", "cpu") == "32-true"


def test_only_an_absent_gpu_is_hidden(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pretend_cuda():
        hide_absent_gpu()
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    hide_absent_gpu()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_lightnings_idle_profiler_costs_nothing_but_one_of_ones_own_is_used(composed, tmp_path):
    cfg = composed("experiment=celeba_landmarks_gender", "profile=smoke")
    monitor = monitor_of("val/loss", None, {"val/loss": False})
    assert isinstance(build_trainer(cfg, tmp_path, monitor, 0).profiler, NoProfiler)
    cfg = composed(
        "experiment=celeba_landmarks_gender", "profile=smoke", "+trainer.profiler=simple"
    )
    assert isinstance(build_trainer(cfg, tmp_path, monitor, 0).profiler, SimpleProfiler)

"""The watch sees what the balancing does, and changes nothing."""

import json
import math

import pytest
import torch

from mtlface.balancing import bank
from mtlface.balancing.solvers import NotSolvedError
from mtlface.training.gradients import GradientMeans
from mtlface.training.run import run

NAN = math.nan


@pytest.fixture(scope="module")
def train(composed):
    def of(folder, *overrides):
        cfg = composed("experiment=tiny", *overrides)
        run(cfg, folder, list(overrides))
        return json.loads((folder / "result.json").read_text())

    return of


def balance(result):
    return {k: v for k, v in result["metrics"].items() if k.startswith("balance/")}


def test_cosines_norms_and_conflicts_follow_from_the_gradients():
    gradients = torch.tensor([[[3.0, 4.0], [-3.0, 0.0]], [[1.0, 0.0], [2.0, 0.0]]])
    means = GradientMeans(["a", "b"])
    means.add(
        torch.tensor([[1.0, 3.0]]), torch.ones(1, 2, dtype=torch.bool), gradients @ gradients.mT
    )
    assert means.named() == pytest.approx(
        {
            "balance/weight/a": 1, "balance/weight/b": 3,
            "balance/norm/a": (5 + 1) / 2, "balance/norm/b": (3 + 2) / 2,
            "balance/cosine/a/b": (-9 / 15 + 1) / 2, "balance/conflict/a/b": 0.5,
        }
    )  # fmt: skip


def test_absent_tasks_and_gradients_of_zero_count_nowhere():
    means = GradientMeans(["a", "b"])
    present = torch.tensor([[True, False], [True, True]])
    absent = torch.tensor([[4.0, NAN], [NAN, NAN]])
    zero = torch.tensor([[4.0, 0.0], [0.0, 0.0]])
    means.add(torch.tensor([[1.0, 0.0], [1.0, 2.0]]), present, torch.stack([absent, zero]))
    found = means.named()
    assert found["balance/weight/b"] == 2 and found["balance/norm/a"] == 2
    assert "balance/cosine/a/b" not in found and "balance/conflict/a/b" not in found


def test_windows_add_up_and_the_state_goes_on():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 3, 5, generator=generator)
    present, weights = torch.ones(6, 3, dtype=torch.bool), torch.rand(6, 3, generator=generator)
    whole, first, second = (GradientMeans("abc") for _ in range(3))
    whole.add(weights, present, rows @ rows.mT)
    first.add(weights[:2], present[:2], rows[:2] @ rows[:2].mT)
    second.add(weights[2:], present[2:], rows[2:] @ rows[2:].mT)
    resumed = GradientMeans("abc", first.state())
    resumed.merge(second)
    assert resumed.named() == pytest.approx(whole.named())


def test_many_losses_have_their_extremes_only():
    names = [str(i) for i in range(40)]
    means = GradientMeans(names)
    rows = torch.randn(1, 40, 50, generator=torch.Generator().manual_seed(0))
    means.add(torch.ones(1, 40), torch.ones(1, 40, dtype=torch.bool), rows @ rows.mT)
    found = means.named()
    assert set(found) == {
        f"balance/{kind}_{end}"
        for kind in ("weight", "norm", "cosine", "conflict")
        for end in ("min", "mean", "max")
    }
    assert -1 <= found["balance/cosine_min"] < 0 < found["balance/cosine_max"] < 1


@pytest.mark.parametrize("balancing", ["fixed", "uncertainty"])
def test_training_is_the_same_bit_for_bit_with_and_without_the_watch(train, tmp_path, balancing):
    method = f"balancing={balancing}"
    off = train(tmp_path / "off", method, "watch.every_n_steps=0")
    on = train(tmp_path / "on", method, "watch.every_n_steps=1")
    assert not balance(off) and "balance/cosine/gender/landmarks" in balance(on)
    histories = [(tmp_path / name / "metrics.csv").read_text() for name in ("off", "on")]
    assert histories[0] == histories[1]
    kept = {k: v for k, v in on["metrics"].items() if k not in balance(on)}
    assert kept == off["metrics"]


def test_a_method_without_gradients_shows_what_one_with_gradients_has(train, tmp_path):
    once = ("trainer.max_epochs=1", "+trainer.limit_train_batches=1", "watch.every_n_steps=1")
    looked = balance(train(tmp_path / "fixed", "balancing=fixed", *once))
    own = balance(train(tmp_path / "pcgrad", "balancing=pcgrad", *once))
    for kind in ("norm/gender", "norm/landmarks", "cosine/gender/landmarks"):
        assert looked[f"balance/{kind}"] == pytest.approx(own[f"balance/{kind}"], rel=1e-5)


def test_a_frozen_trunk_has_weights_and_no_gradients(train, tmp_path):
    found = balance(train(tmp_path, "finetune=frozen", "watch.every_n_steps=1"))
    assert found == {"balance/weight/gender": 1.0, "balance/weight/landmarks": 1.0}


def test_steps_without_an_answer_are_counted_in_the_result(train, tmp_path, monkeypatch):
    def fails(aggregator, gramian):
        raise NotSolvedError("on purpose")

    arguments = ("balancing=fairgrad", "finetune=two_phase", "two_phase.frozen_epochs=1")
    assert train(tmp_path / "a", *arguments)["balancing"] == {"fallbacks": 0, "solver_failures": 0}
    monkeypatch.setattr(bank, "gramian_weights", fails)
    # Two steps of two epochs, of which the first is frozen and asks no solver.
    with pytest.warns(UserWarning, match="on purpose"):
        found = train(tmp_path / "b", *arguments)["balancing"]
    assert found == {"fallbacks": 2, "solver_failures": 2}


def test_a_single_task_has_nothing_to_balance(train, tmp_path):
    assert not balance(train(tmp_path, "task=[gender]", "watch.every_n_steps=1"))

"""The bar shows losses, and a setting that an object lacks is one line."""

from types import SimpleNamespace

import pytest

from mtlface.errors import MtlfaceError
from mtlface.training.loss_meter import LossMeter
from mtlface.training.progress import Bar
from mtlface.training.run import run


@pytest.mark.parametrize(
    ("word", "named"),
    [
        ("+optimizer.foo=1", "foo: Adam has no setting 'foo'"),
        ("+backbone.foo=1", r"backbone\.foo: cnn3_bn has no setting 'foo'"),
        ("+tasks.gender.loss.foo=1", r"tasks\.gender\.loss\.foo: BCEWithLogitsLoss has no setting"),
    ],
)
def test_a_setting_that_an_object_lacks_is_one_line(composed, tmp_path, word, named):
    with pytest.raises(MtlfaceError, match=named):
        run(composed("experiment=tiny_gender", "backbone=cnn3_bn", word), tmp_path, [])


def test_the_bar_shows_losses_and_no_version(composed, tmp_path, capsys):
    settings = ["trainer.max_epochs=1", "trainer.log_every_n_steps=1", "figures=false"]
    run(composed("experiment=tiny", "trainer.enable_progress_bar=true", *settings), tmp_path, [])
    said = "".join(capsys.readouterr())
    assert "v_num" not in said
    for name in ("loss=", "gender=", "landmarks="):
        assert name in said


def test_a_bar_has_room_for_few_losses():
    bar, meter = Bar(), LossMeter([f"t{i}" for i in range(40)])
    assert bar.get_metrics(SimpleNamespace(), SimpleNamespace()) == {}
    assert len(meter.running()) == 40

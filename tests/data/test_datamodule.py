"""The data module uses what is usable, says what it left out, and refuses what makes no sense."""

import logging

import pytest
import torch

from mtlface.data.augment import Augment
from mtlface.data.celeba import CelebA
from mtlface.data.datamodule import FaceDataModule
from mtlface.data.source import Source
from mtlface.errors import MtlfaceError

FOLDER = "img_align_celeba/img_align_celeba"
HALF = {"count": 12, "ratios": [0.5, 0.25, 0.25], "seed": 3}


def module(root, cache, **settings) -> FaceDataModule:
    of_source = {key: settings.pop(key) for key in ("limit", "draw") if key in settings}
    reader = settings.pop("reader", CelebA())
    source = Source("tiny", reader, root=str(root), **of_source)
    defaults = {"image_size": (32, 32), "batch_size": 8, "augment": Augment(), "workers": 0}
    return FaceDataModule("tiny", [source], cache, **defaults | settings)


def corrupt(root, *numbers):
    for number in numbers:
        path = root / FOLDER / f"{number:06d}.jpg"
        path.write_bytes(path.read_bytes()[:200])


def images(datamodule):
    return set(datamodule.table.frame["image"])


def test_a_corrupt_picture_is_left_out_by_name_and_counted(own_faces, tmp_path, caplog):
    corrupt(own_faces, 3)
    found = module(own_faces, tmp_path / "cache", max_bad_fraction=0.05)
    with caplog.at_level(logging.WARNING):
        table = found.table
    assert table.counts == {"train": 15, "val": 4, "test": 4}
    assert [omission.file for omission in table.omitted] == [f"{FOLDER}/000003.jpg"]
    assert "Left out 1" in caplog.text and "000003.jpg" in caplog.text


def test_pictures_keep_their_labels_when_one_before_them_is_left_out(own_faces, cache, tmp_path):
    whole = module(own_faces, cache)
    whole.batch_labels = ("gender",)
    expected = whole.split("test").batch(torch.arange(4).numpy())
    corrupt(own_faces, 3)
    found = module(own_faces, tmp_path / "cache", max_bad_fraction=0.05)
    found.batch_labels = ("gender",)
    batch = found.split("test").batch(torch.arange(4).numpy())
    assert torch.equal(batch["image"], expected["image"])
    assert torch.equal(batch["gender"], expected["gender"])


def test_too_many_corrupt_pictures_stop_the_run(own_faces, tmp_path):
    corrupt(own_faces, 3, 4)
    with pytest.raises(MtlfaceError, match=r"2 of 24 images .* first .*000003\.jpg"):
        module(own_faces, tmp_path / "cache", max_bad_fraction=0.05).load()


def test_on_bad_image_raise_stops_at_one(own_faces, tmp_path):
    corrupt(own_faces, 3)
    with pytest.raises(MtlfaceError, match=r"1 of 24 images .*000003\.jpg"):
        settings = {"max_bad_fraction": 1.0, "on_bad_image": "raise"}
        module(own_faces, tmp_path / "cache", **settings).load()


def test_a_split_that_the_data_lacks_is_an_error(own_faces, cache):
    path = own_faces / "list_eval_partition.csv"
    path.write_text(path.read_text().replace(",2\n", ",1\n"))
    with pytest.raises(MtlfaceError, match=r"tiny .* has no usable image in its test split"):
        module(own_faces, cache).load()


def test_a_split_whose_pictures_are_all_corrupt_is_an_error(own_faces, tmp_path):
    corrupt(own_faces, 21, 22, 23, 24)
    with pytest.raises(MtlfaceError, match=r"tiny .* has no usable image in its test split"):
        module(own_faces, tmp_path / "cache", max_bad_fraction=0.5).load()


def test_a_limit_packs_only_what_it_draws_whatever_the_runs_seed(faces, cache):
    found = [module(faces, cache, limit={"train": 5, "val": 2, "test": 1}, seed=s) for s in (0, 1)]
    assert found[0].table.counts == {"train": 5, "val": 2, "test": 1}
    assert len(found[0].store.pixels) == 8
    assert found[0].fingerprint() == found[1].fingerprint()
    first = module(faces, cache, limit={"train": 5, "order": "first"})
    assert first.table.frame["image"][4].endswith("000005.jpg")


def test_a_draw_does_not_depend_on_the_runs_seed(faces, cache):
    drawn = [module(faces, cache, draw=HALF, seed=seed) for seed in (0, 1)]
    assert drawn[0].table.counts == {"train": 6, "val": 3, "test": 3}
    assert drawn[0].fingerprint() == drawn[1].fingerprint()


def test_the_fingerprint_is_of_the_content_and_not_of_the_folder(faces, own_faces, cache):
    here, there = module(faces, cache), module(own_faces, cache)
    assert here.fingerprint() == there.fingerprint()
    assert here.fingerprint() != module(faces, cache, image_size=(16, 16)).fingerprint()
    assert here.fingerprint() != module(faces, cache, draw=HALF).fingerprint()


def fingerprint_of_images(data):
    (source,) = data.description().values()
    return source["images"]


def test_arms_of_one_data_set_agree_in_its_pictures_whatever_they_take_of_it(faces, cache):
    here = fingerprint_of_images(module(faces, cache))
    assert here == fingerprint_of_images(module(faces, cache, image_size=(16, 16)))
    for seed in (1, 2):
        resplit = module(faces, cache, draw={**HALF, "count": 24, "seed": seed})
        assert fingerprint_of_images(resplit) == here
    assert fingerprint_of_images(module(faces, cache, draw=HALF)) != here


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"loader": "device", "augment": Augment(weather={"fog": 0.5})}, "loader=device"),
        ({"loader": "gpu"}, r"data\.loader"),
        ({"on_bad_image": "ignore"}, r"data\.on_bad_image"),
        ({"batch_size": 0}, r"data\.batch_size"),
        ({"image_size": 64}, r"data\.image_size"),
        ({"image_size": (64, 0)}, r"data\.image_size"),
        ({"limit": 100}, r"data\.limit"),
        ({"limit": {"train": 3}, "draw": HALF}, "exclude each other"),
        ({"draw": {"count": 12}}, r"data\.draw"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_read(settings, named):
    with pytest.raises(MtlfaceError, match=named):
        module("/nowhere", "/nowhere", **settings)


def test_a_folder_that_is_not_there_is_an_error_that_says_what_is_expected(tmp_path):
    with pytest.raises(MtlfaceError, match=r"list_attr_celeba.*found nothing there"):
        module(tmp_path / "nope", tmp_path).load()


def test_auto_takes_workers_only_where_the_weather_needs_them(faces, cache):
    def kind(**settings):
        return type(module(faces, cache, **settings).train_dataloader()).__name__

    assert kind(augment=Augment(flip=0.5)) == "DeviceLoader"
    assert kind(augment=Augment(weather={"fog": 0.5})) == "DataLoader"
    assert kind(loader="workers") == "DataLoader"


def test_evaluation_sees_no_augmentation_and_every_picture_once(faces, cache):
    found = module(faces, cache, augment=Augment(flip=1.0, weather={"fog": 1.0}), batch_size=3)
    plain = module(faces, cache)
    for loader, name in ((found.val_dataloader(), "val"), (found.test_dataloader(), "test")):
        batches = list(loader)
        assert torch.cat([b["index"] for b in batches]).tolist() == found.table.rows(name).tolist()
        seen = torch.cat([batch["image"] for batch in batches])
        assert torch.equal(seen, plain.split(name).batch(torch.arange(4).numpy())["image"])

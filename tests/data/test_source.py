"""What a join sets for all its sources, what each sets itself, and what is of use nowhere."""

import pytest
import yaml

from mtlface.data.source import COMMON, source_sections, source_settings
from mtlface.door import config_folder
from mtlface.errors import MtlfaceError

ALONE = {
    "name": "a", "reader": {"_target_": "x"}, "kaggle": None, "demo": "a.zip", "root": None,
    "source": "kaggle", "split": None, "limit": None, "draw": None,
}  # fmt: skip


def joined(**top):
    shared = {"mix": "equal", "people": None, "root": None, "source": None, "limit": None}
    sources = {"a": ALONE, "b": ALONE | {"name": "b", "root": "/b", "limit": {"train": 3}}}
    return shared | {"draw": None, "name": "a+b", "batch_size": 32} | sources | top


def test_what_all_sources_share_stands_in_the_main_config():
    main = yaml.safe_load((config_folder() / "train.yaml").read_text())
    assert set(main["data"]) == set(COMMON)


def test_a_data_set_alone_is_its_own_section():
    assert source_sections(ALONE) == {"a": ALONE}
    assert source_settings(ALONE | {"points": "all"}) == [ALONE]


def test_each_source_keeps_what_it_says_and_takes_the_rest_from_the_join():
    one, two = source_settings(joined(source="demo", limit={"test": 5}))
    assert (one["source"], one["limit"], one["root"]) == ("demo", {"test": 5}, None)
    assert (two["source"], two["limit"], two["root"]) == ("demo", {"train": 3}, "/b")


def test_a_join_of_one_takes_the_root():
    data = joined(root="/a")
    del data["b"]
    assert source_settings(data)[0]["root"] == "/a"


@pytest.mark.parametrize(
    ("top", "named"),
    [
        ({"root": "/x"}, r"data\.a\.root, data\.b\.root"),
        ({"points": ["nose"]}, r"data\.a\.points=….*'~data\.points'"),
        ({"b": ALONE}, "Two sources are called 'a'"),
        ({"b": ALONE | {"name": "b", "batch_size": 8}}, r"data\.b\.batch_size has no effect"),
    ],
)
def test_a_setting_that_is_of_no_use_is_an_error(top, named):
    with pytest.raises(MtlfaceError, match=named):
        source_settings(joined(**top))

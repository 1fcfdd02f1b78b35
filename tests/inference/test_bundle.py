"""A bundle opens like the checkpoint that it was made of, and a strange one is refused like one."""

import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

import mtlface
from mtlface import evaluate, export
from mtlface.errors import MtlfaceError

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def bundle(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "bundle"
    words = [f"checkpoint={trained}", f"output={folder}", "onnx=false", "program=false"]
    assert export.main(words) == 0
    return folder


@pytest.fixture
def own_bundle(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "bundle")


def test_a_bundle_predicts_what_its_checkpoint_does(bundle, predictor, pictures):
    theirs = predictor.predict(pictures)
    for given in (bundle, bundle / "model.safetensors"):
        pd.testing.assert_frame_equal(mtlface.load(given).predict(pictures), theirs)


def test_a_bundle_is_measured_like_its_checkpoint(bundle, trained, faces, tmp_path, capsys):
    found = {}
    for name, checkpoint in (("bundle", bundle), ("run", trained)):
        output = tmp_path / name
        words = [f"checkpoint={checkpoint}", f"output={output}", f"data.root={faces}"]
        assert evaluate.main(words) == 0
        found[name] = (output / "predictions.csv").read_text()
    assert found["bundle"] == found["run"]


def test_a_bundle_of_a_bundle_is_the_same(bundle, tmp_path):
    again = tmp_path / "again"
    words = [f"checkpoint={bundle}", f"output={again}", "onnx=false", "program=false"]
    assert export.main(words) == 0
    for name in ("model.safetensors", "config.yaml", "labels.json"):
        assert (again / name).read_bytes() == (bundle / name).read_bytes()
    with pytest.raises(MtlfaceError, match=r"the bundle to be exported itself.*output="):
        export.main([f"checkpoint={bundle}", f"output={bundle}"])


@pytest.mark.parametrize("place", ["backbone", "tasks.gender.head", "augment"])
def test_a_config_that_names_what_is_not_allowed_is_refused(own_bundle, tmp_path, place):
    config = yaml.safe_load((own_bundle / "config.yaml").read_text())
    section = config
    *path, last = place.split(".")
    for key in path:
        section = section[key]
    section[last] = {"_target_": "os.mkdir", "path": str(tmp_path / "attacked")}
    (own_bundle / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(MtlfaceError, match="is refused, and nothing of it was run"):
        mtlface.load(own_bundle)
    assert not (tmp_path / "attacked").exists()


def test_yaml_that_makes_objects_is_not_run(own_bundle, tmp_path):
    attack = f"name: !!python/object/apply:os.mkdir ['{tmp_path / 'attacked'}']\n"
    (own_bundle / "config.yaml").write_text(attack)
    with pytest.raises(MtlfaceError, match=r"config\.yaml is damaged"):
        mtlface.load(own_bundle)
    assert not (tmp_path / "attacked").exists()


def test_yaml_that_grows_without_end_is_refused(own_bundle):
    lines = ["a0: &a0 [x]", *(f"a{k}: &a{k} [{f'*a{k - 1},' * 9}]" for k in range(1, 12))]
    (own_bundle / "config.yaml").write_text("\n".join(lines))
    with pytest.raises(MtlfaceError, match="larger or deeper"):
        mtlface.load(own_bundle)


@pytest.mark.parametrize("name", ["model.safetensors", "config.yaml", "labels.json"])
@pytest.mark.parametrize("content", ["", "text", "{}", "[1", "\0\0"])
def test_a_damaged_file_is_one_clear_error(own_bundle, name, content):
    (own_bundle / name).write_text(content)
    with pytest.raises(MtlfaceError) as raised:
        mtlface.load(own_bundle)
    assert str(own_bundle) in str(raised.value)


@pytest.mark.parametrize("name", ["config.yaml", "labels.json"])
def test_a_missing_file_is_named(own_bundle, name):
    (own_bundle / name).unlink()
    with pytest.raises(MtlfaceError, match=f"is a bundle without {name}"):
        mtlface.load(own_bundle)


def test_weights_of_another_network_are_a_clear_error(own_bundle):
    from safetensors.numpy import save_file

    save_file({"backbone.x": np.zeros(3)}, own_bundle / "model.safetensors")
    with pytest.raises(MtlfaceError, match="cannot be built from its own config"):
        mtlface.load(own_bundle)

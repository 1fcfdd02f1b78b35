"""A run starts from the trunk and the heads of an earlier one, and says what it took."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from mtlface.errors import MtlfaceError
from mtlface.inference.bundle import write_bundle
from mtlface.inference.network import open_network
from mtlface.training import run as run_module
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.run import run
from mtlface.training.start_weights import take_weights
from mtlface.training.trained_files import with_quoted_runs

CONF = Path(__file__).parents[1] / "conf"
FROZEN = ("finetune=frozen", "optimizer.lr=1e-9")  # what was taken is what is kept


@pytest.fixture(scope="module")
def train(composed):
    def of(folder, *overrides):
        given = with_quoted_runs(overrides)
        run(composed("experiment=tiny", *given), folder, given)
        return json.loads((folder / "result.json").read_text())

    return of


@pytest.fixture(scope="module")
def earlier(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier") / "seed=0"
    train(folder, "seed=0")
    return folder


@pytest.fixture(scope="module")
def bundle(earlier, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(open_network(earlier, "cpu"), folder, onnx=False, program=False)
    return folder


@pytest.fixture
def places(earlier, bundle):
    return {"folder": earlier, "file": earlier / "checkpoints" / "best.ckpt", "bundle": bundle}


@pytest.fixture
def first_weights(monkeypatch):
    """The state dicts that runs start from."""
    seen = []

    def taken(cfg, module, labels):
        found = take_weights(cfg, module, labels)
        seen.append({key: value.clone() for key, value in module.state_dict().items()})
        return found

    monkeypatch.setattr(run_module, "take_weights", taken)
    return seen


def weights_of(folder):
    return load_checkpoint(folder / "checkpoints" / "best.ckpt")["state_dict"]


def assert_taken(state, earlier, *parts):
    keys = [key for key in earlier if key.startswith(parts)]
    assert keys
    for key in keys:
        assert torch.equal(state[key], earlier[key]), key


@pytest.mark.parametrize("place", ["folder", "file", "bundle"])
@pytest.mark.parametrize("key", ["pretrained", "init"])
def test_a_run_starts_from_each_form_of_an_earlier_one(
    train, places, earlier, first_weights, key, place, tmp_path, caplog
):
    with caplog.at_level(logging.INFO, "mtlface"):
        result = train(tmp_path / "run", "seed=5", f"{key}={places[place]}", *FROZEN)
    assert_taken(first_weights[0], weights_of(earlier), "backbone.", "tasks.")
    assert_taken(weights_of(tmp_path / "run"), weights_of(earlier), "backbone.trunk.0.")
    said = [line for line in caplog.messages if "the trunk is taken" in line]
    assert len(said) == 1 and "with the heads gender, landmarks" in said[0]
    origin = result["model"]["weights"]
    assert (origin["from"], origin["key"], origin["experiment"]) == ("run", key, "tiny")
    assert origin["path"] == str(places[place])
    assert sorted(origin["heads"]) == ["gender", "landmarks"] and origin["left"] == {}


def test_only_heads_that_fit_are_taken_and_the_rest_is_said(
    train, earlier, first_weights, tmp_path, caplog
):
    changes = ("task=[gender,landmarks_mlp]", f"pretrained={earlier}", "seed=5")
    with caplog.at_level(logging.INFO, "mtlface"):
        result = train(tmp_path / "run", *changes)
    assert_taken(first_weights[0], weights_of(earlier), "backbone.", "tasks.gender.")
    (said,) = [line for line in caplog.messages if "the trunk is taken" in line]
    assert "with the head gender; not landmarks (" in said
    origin = result["model"]["weights"]
    assert origin["heads"] == ["gender"] and "missing from the file" in origin["left"]["landmarks"]


def test_a_head_whose_label_means_something_else_is_not_taken(train, earlier, tmp_path):
    path = earlier / "checkpoints" / "best.ckpt"
    checkpoint = load_checkpoint(path)
    (gender,) = [label for label in checkpoint[EXTRA]["labels"] if label["name"] == "gender"]
    gender["classes"] = tuple(reversed(gender["classes"]))
    torch.save(checkpoint, tmp_path / "other.ckpt")
    result = train(tmp_path / "run", f"pretrained={tmp_path / 'other.ckpt'}")
    origin = result["model"]["weights"]
    assert origin["heads"] == ["landmarks"] and "something else" in origin["left"]["gender"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        (["task=[gender,landmarks_mlp]"], r"the head 'landmarks' does not fit: .*missing"),
        (["only=gender"], r"the head 'landmarks' does not fit: this run has no such task"),
        (["backbone=cnn3_bn"], r"the trunk of 'tiny' is not this run's: .*(missing|unknown)"),
        (["pretrained=trunk.pth"], r"Give one of the two"),
    ],
)
def test_init_takes_everything_or_names_what_does_not_fit(
    train, earlier, tmp_path, changes, complaint
):
    with pytest.raises(MtlfaceError, match=complaint):
        train(tmp_path / "run", f"init={earlier}", *changes)
    assert not (tmp_path / "run" / "result.json").exists()


def test_another_trunk_is_refused_by_name(train, earlier, tmp_path):
    with pytest.raises(MtlfaceError, match=r"pretrained=.*the trunk of 'tiny' is not this run's"):
        train(tmp_path / "run", f"pretrained={earlier}", "backbone=cnn9")


@pytest.mark.parametrize("key", ["pretrained", "init"])
@pytest.mark.parametrize(
    ("value", "complaint"),
    [("{}/absent.ckpt", "There is no .*absent.ckpt"), ("{}", "There is no checkpoints.best.ckpt")],
)
def test_a_source_that_is_not_there_is_named(train, tmp_path, key, value, complaint):
    with pytest.raises(MtlfaceError, match=rf"{complaint}.*Give {key}="):
        train(tmp_path / "run", f"{key}={value.format(tmp_path)}")


def test_a_file_that_brings_code_is_refused_unopened(train, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "was-here"), "w"))

    torch.save({"state_dict": {}, EXTRA: Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(MtlfaceError, match="was not loaded"):
        train(tmp_path / "run", f"pretrained={tmp_path / 'evil.ckpt'}")
    assert not (tmp_path / "was-here").exists()


def test_nothing_that_a_strangers_config_names_is_built(train, earlier, tmp_path):
    checkpoint = load_checkpoint(earlier / "checkpoints" / "best.ckpt")
    checkpoint[EXTRA]["config"]["backbone"] = {"_target_": "os.mkdir", "path": str(tmp_path / "x")}
    checkpoint[EXTRA]["config"]["name"] = "\x1b[31mred"
    torch.save(checkpoint, tmp_path / "strange.ckpt")
    result = train(tmp_path / "run", f"init={tmp_path / 'strange.ckpt'}")
    assert not (tmp_path / "x").exists()
    assert result["model"]["weights"]["experiment"] == r"\x1b[31mred"


def test_the_content_counts_and_the_path_does_not(train, earlier, tmp_path, caplog):
    folder = tmp_path / "run"
    first = train(folder, f"pretrained={earlier}")
    moved = shutil.copytree(earlier, tmp_path / "moved")
    with caplog.at_level(logging.INFO, "mtlface"):
        again = train(folder, f"pretrained={moved}")
    assert again == first and "is done already" in caplog.text
    checkpoint = load_checkpoint(moved / "checkpoints" / "best.ckpt")
    checkpoint["state_dict"]["tasks.gender.head.bias"] += 1
    torch.save(checkpoint, moved / "checkpoints" / "best.ckpt")
    other = train(folder, f"pretrained={moved}")
    assert other["identity"] != first["identity"]
    plain = train(tmp_path / "plain")
    assert plain["identity"] not in (first["identity"], other["identity"])
    assert plain["model"]["weights"] == {"from": "random"}


def test_the_trained_run_opens_without_its_source(train, earlier, tmp_path):
    source = shutil.copytree(earlier, tmp_path / "source")
    train(tmp_path / "run", f"init={source}")
    shutil.rmtree(source)
    assert open_network(tmp_path / "run", "cpu").module.tasks.keys() == {"gender", "landmarks"}


def test_a_state_dict_says_so_in_the_result(train, composed, tmp_path):
    from hydra.utils import instantiate

    trunk = instantiate(composed("experiment=tiny").backbone)
    torch.save(trunk.state_dict(), tmp_path / "trunk.pth")
    result = train(tmp_path / "run", f"pretrained={tmp_path / 'trunk.pth'}")
    assert result["model"]["weights"]["from"] == "file"
    assert result["model"]["weights"]["sha256"].startswith("sha256:")


def test_the_paths_of_runs_need_no_quotes_on_the_command_line(tmp_path):
    one, two = (tmp_path / f"arm,lr={i}" / "seed=0" for i in (1, 2))
    for folder in (one, two):
        folder.mkdir(parents=True)
    assert with_quoted_runs([f"init={one}"]) == [f"init='{one}'"]
    assert with_quoted_runs([f"pretrained={one},true,{two}"]) == [
        f"pretrained='{one}',true,'{two}'"
    ]
    kept = ["seed=0,1", "pretrained=true,false", "pretrained='a=b'", "init=a/b.ckpt"]
    assert with_quoted_runs(kept) == kept
    assert with_quoted_runs(["init=no/such/seed=0"]) == ["init='no/such/seed=0'"]


def test_a_command_starts_from_a_run_folder_as_it_is_called(tmp_path, faces, cache, monkeypatch):
    import mtlface.train

    common = ["experiment=tiny", f"data.root={faces}", f"data.cache={cache}", "trainer=cpu"]
    common += [f"--config-dir={CONF}", "trainer.enable_progress_bar=false"]

    def command(*words):
        monkeypatch.setattr("sys.argv", ["train", *common, *words])
        with pytest.raises(SystemExit) as ended:
            mtlface.train.main()
        assert ended.value.code == 0

    command(f"outputs={tmp_path / 'a'}")
    (source,) = tmp_path.glob("a/**/seed=0")
    command(f"outputs={tmp_path / 'b'}", f"init={source}")
    (file,) = tmp_path.glob("b/**/result.json")
    result = json.loads(file.read_text())
    assert result["model"]["weights"]["path"] == str(source)
    assert result["arm"].startswith("tiny,init=") and str(tmp_path) not in result["arm"]


def test_a_trunk_that_takes_no_weights_itself_starts_from_a_run_too(
    train, earlier, first_weights, tmp_path
):
    own = ("~backbone.pretrained", "seed=5")
    started = train(tmp_path / "started", *own, f"pretrained={earlier}")
    assert_taken(first_weights[0], weights_of(earlier), "backbone.", "tasks.")
    assert started["identity"] != train(tmp_path / "plain", *own)["identity"]


IMAGENET = Path(torch.hub.get_dir()) / "checkpoints" / "mobilenet_v2-b0353104.pth"


@pytest.mark.skipif(not IMAGENET.is_file(), reason=f"no {IMAGENET.name} here: make weights")
def test_imagenet_weights_from_a_command_to_its_files(tmp_path, monkeypatch):
    import mtlface.train

    words = ["experiment=celeba_gender", "backbone=mobilenet_v2", "finetune=frozen"]
    words += ["profile=smoke", "pretrained=true", "trainer=cpu", f"outputs={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["train", *words, "figures=false"])
    with pytest.raises(SystemExit) as ended:
        mtlface.train.main()
    assert ended.value.code == 0
    (file,) = tmp_path.glob("**/result.json")
    model = json.loads(file.read_text())["model"]
    assert model["backbone"] == "mobilenet_v2"
    assert model["weights"] == {"from": "published", "name": "IMAGENET1K_V1"}
    published = torch.load(IMAGENET, weights_only=True)
    found = weights_of(file.parent)
    for key, value in published.items():
        if not key.startswith("classifier."):
            assert torch.equal(found[f"backbone.trunk.{key}"], value), key

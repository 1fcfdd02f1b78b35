"""One's own reader and backbone in every command, and nothing of a stranger's."""

import json
import logging
import sys

import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from own_reader import write_own_reader

import mtlface
from mtlface import evaluate, explore, export, predict, train
from mtlface.arguments import names, with_config_dir
from mtlface.errors import MtlfaceError
from mtlface.training.checkpoint import EXTRA, load_checkpoint
from mtlface.training.own_runs import own_runs_file, remember, section_hash

WORDS = (
    "profile=smoke", "trainer=cpu", "trainer.enable_progress_bar=false", "figures=false",
    "data.source=kaggle", "data.limit=null",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory, cache):
    """A folder with the user's own reader, backbone and faces, and a run that is made of them."""
    folder, root = tmp_path_factory.mktemp("home"), logging.getLogger()
    handlers, level, arguments = root.handlers[:], root.level, sys.argv
    flag, conf, *data = write_own_reader(folder)
    sys.path.insert(0, str(folder))
    words = [f"config_dir={conf}", *data, "backbone=tinynet", "task=[gender,age]", "name=own"]
    sys.argv = ["train", *WORDS, *words, f"data.cache={cache}", f"outputs={folder / 'out'}"]
    with pytest.raises(SystemExit) as stop:
        train.main()
    assert stop.value.code == 0 and flag == "--config-dir"
    root.handlers[:], root.level, sys.argv = handlers, level, arguments
    yield folder
    sys.path.remove(str(folder))
    GlobalHydra.instance().clear()


@pytest.fixture
def run(home):
    (result,) = home.rglob("result.json")
    return result.parent


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """Somebody else on another machine: their list of own runs is empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_every_command_knows_ones_own_run(home, run, tmp_path, capsys):
    at = f"checkpoint={run}"
    assert predict.main([at, f"images={home / 'faces'}", f"output={tmp_path}"]) == 0
    assert len(pd.read_csv(tmp_path / "predictions.csv")) == 24
    assert evaluate.main([at, f"output={tmp_path / 'evaluation'}"]) == 0
    measured = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    result = json.loads((run / "result.json").read_text())
    assert measured["metrics"]["age/mae"] == pytest.approx(result["metrics"]["test/age/mae"])
    bundle = tmp_path / "bundle"
    assert export.main([at, f"output={bundle}", "onnx=false", "program=false"]) == 0
    for place in (run, bundle):
        assert len(mtlface.load(place).predict(home / "faces" / "0.png")) == 1
    # A bundle travels, and keeps no folder of this machine.
    again = [f"checkpoint={bundle}", f"output={tmp_path / 'again'}"]
    with pytest.raises(MtlfaceError, match=r"keeps no path of its data.*data\.root=<folder>"):
        evaluate.main(again)
    assert evaluate.main([*again, f"data.root={home / 'faces'}"]) == 0


@pytest.mark.parametrize(
    "spelling", [["--config-dir", "{}"], ["--config-dir={}"], ["config_dir={}"]]
)
def test_a_config_folder_is_said_in_one_way_everywhere(home, run, tmp_path, capsys, spelling):
    given = [word.format(home / "my_conf") for word in spelling]
    data = ["data=myfaces", f"data.root={home / 'faces'}"]
    page = tmp_path / "page"
    assert explore.main([*given, *data, "pictures=1", f"output={page}"]) == 0
    assert (page / "index.html").is_file()
    assert train._parsed(given) == ([], set(), [home / "my_conf"])
    with pytest.raises(MtlfaceError, match=r"data=myfacez .* Did you mean 'myfaces'"):
        evaluate.main([f"checkpoint={run}", "data=myfacez", *given])


def test_other_data_of_ones_own_measures_any_network(home, run, tmp_path, capsys, monkeypatch):
    other = home / "my_conf" / "data" / "others.yaml"
    other.write_text((home / "my_conf/data/myfaces.yaml").read_text().replace("myfaces", "others"))
    words = ["data=others", f"data.root={home / 'faces'}", f"config_dir={home / 'my_conf'}"]
    assert evaluate.main([f"checkpoint={run}", *words, f"output={tmp_path}"]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text())["data"]["name"] == "others"


def test_a_strangers_backbone_is_refused_and_the_way_on_is_named(home, run, stranger, monkeypatch):
    monkeypatch.delitem(sys.modules, "my_faces_of_tests", raising=False)
    photo = home / "faces" / "0.png"
    for command in (predict, evaluate, export):
        words = [f"checkpoint={run}", f"images={photo}", "output=nowhere"]
        with pytest.raises(MtlfaceError, match=r"refused.*say trusted=my_faces_of_tests"):
            command.main([w for w in words if command is predict or "images" not in w])
    assert "my_faces_of_tests" not in sys.modules
    for trusted in ("my_faces_of_tests", ["other", "my_faces_of_tests"]):
        assert len(mtlface.load(run, trusted=trusted).predict(photo)) == 1


def test_a_strangers_reader_is_needed_by_evaluate_alone(
    home, run, stranger, tmp_path, monkeypatch, capsys
):
    """The same run with a backbone of mtlface's: predictions need no reader, measuring does."""
    checkpoint = load_checkpoint(run / "checkpoints" / "best.ckpt")
    config = checkpoint[EXTRA]["config"]
    remember([("backbone", config["backbone"])])
    monkeypatch.delitem(sys.modules, "my_faces_of_tests", raising=False)
    at = f"checkpoint={run}"
    photo = home / "faces" / "0.png"
    here = f"data.root={home / 'faces'}"  # a stranger cannot say where data lies
    assert predict.main([at, f"images={photo}", f"output={tmp_path}", "crop=center"]) == 0
    assert export.main([at, f"output={tmp_path}", "onnx=false", "program=false"]) == 0
    with pytest.raises(MtlfaceError, match=r"data\.reader.*say trusted=my_faces_of_tests"):
        evaluate.main([at, here, f"output={tmp_path}"])
    for trusted in ("a,my_faces_of_tests", "[a,my_faces_of_tests]"):
        assert evaluate.main([at, here, f"output={tmp_path}", f"trusted={trusted}"]) == 0


def test_trust_is_for_what_was_run_and_not_for_a_name(run):
    """A stranger who names one's own module with other arguments, or elsewhere, is refused."""
    config = load_checkpoint(run / "checkpoints" / "best.ckpt")[EXTRA]["config"]
    known = own_runs_file().read_text().split()
    backbone = config["backbone"]
    assert section_hash("backbone", backbone) in known
    assert section_hash("backbone", backbone | {"width": 7}) not in known
    assert section_hash("tasks.age.head", backbone) not in known
    assert section_hash("data.reader", config["data"]["reader"]) in known
    assert len(known) == len({*known})


def test_the_trust_lies_with_the_user_and_not_in_the_run(home, run, stranger, tmp_path):
    for path in home.rglob("*"):
        assert path.name != "own_runs"
    checkpoint = load_checkpoint(run / "checkpoints" / "best.ckpt")
    checkpoint[EXTRA]["own_runs"] = [
        section_hash("backbone", checkpoint[EXTRA]["config"]["backbone"])
    ]
    torch.save(checkpoint, tmp_path / "strange.ckpt")
    with pytest.raises(MtlfaceError, match="refused"):
        mtlface.load(tmp_path / "strange.ckpt")


def test_no_module_of_python_itself_is_suggested_to_be_trusted(run, stranger, tmp_path):
    checkpoint = load_checkpoint(run / "checkpoints" / "best.ckpt")
    checkpoint[EXTRA]["config"]["backbone"] = {"_target_": "os.system", "command": "true"}
    torch.save(checkpoint, tmp_path / "strange.ckpt")
    with pytest.raises(MtlfaceError, match="from people whom you trust") as refusal:
        mtlface.load(tmp_path / "strange.ckpt")
    assert "trusted=" not in str(refusal.value)


def test_a_list_that_cannot_be_written_is_a_warning(monkeypatch, tmp_path, caplog):
    (tmp_path / "mtlface").write_text("a file where the folder would be")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    remember([("backbone", {"_target_": "mine.net"})])
    assert "trusted=" in caplog.text


def test_lists_are_spelt_with_or_without_brackets():
    assert names("[a, b]") == names("a,b") == ["a", "b"]
    with pytest.raises(MtlfaceError, match="names no folder"):
        with_config_dir(["--config-dir"])

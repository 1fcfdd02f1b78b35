"""What the docs say of the configs is what the configs say."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_config_reference_is_current():
    spec = importlib.util.spec_from_file_location("reference", ROOT / "tools/config_reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (ROOT / "docs/configs.md").read_text(encoding="utf-8")
    assert text == module.reference(ROOT / "conf"), "run: python tools/config_reference.py"


def test_every_option_says_when_to_choose_it():
    from mtlface.menu import groups, options

    for group in groups(ROOT / "conf"):
        files = {path.stem for path in (ROOT / "conf" / group).glob("*.yaml")}
        assert set(options(ROOT / "conf", group)) >= {f for f in files if not f.startswith("_")}

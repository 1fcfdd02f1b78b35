"""The model card says what may be done with the weights, as far as the data's config says it."""

from dataclasses import replace

import pytest
from omegaconf import OmegaConf, open_dict

from mtlface.inference.bundle import describe
from mtlface.inference.card import model_card


@pytest.fixture
def terms_of(network):
    """The line of a card about the terms, for a config with changes of its data."""

    def line(**data):
        config = network.config.copy()
        with open_dict(config):
            for key, value in data.items():
                OmegaConf.update(config.data, key, value)
                if value is None:
                    del config.data[key]
        changed = replace(network, config=config)
        card = model_card(changed, describe(changed), None, {})
        return next(line for line in card.splitlines() if line.startswith("- Terms:"))

    return line


def test_the_terms_are_those_of_the_datas_config(terms_of):
    assert "non-commercial research only." in terms_of()
    assert terms_of(terms="Ask Ann.", name="mine") == "- Terms: Ask Ann."


def test_terms_that_nobody_stated_are_not_guessed(terms_of):
    # Checkpoints from before there was the key have none, either.
    for without in ("", None):
        assert terms_of(terms=without).startswith("- Terms: not stated.")


def test_rendered_faces_have_the_terms_of_the_demo_data_and_not_of_the_data_they_stand_for(
    terms_of,
):
    assert "CC0" in terms_of(root=None, source="demo")
    assert "CC0" not in terms_of(source="demo")  # a folder wins over the source


def test_terms_of_a_stranger_stay_on_their_line(terms_of):
    assert terms_of(terms="a\n\n# b") == "- Terms: a # b."

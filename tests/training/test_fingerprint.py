"""What makes a run another run, and what does not."""

from omegaconf import open_dict

from mtlface.training.result import config_fingerprint


def test_a_text_about_the_data_does_not_make_another_run(composed):
    cfg = composed("experiment=tiny")
    fingerprint = config_fingerprint(cfg)
    cfg.data.terms = "others"
    assert config_fingerprint(cfg) == fingerprint
    with open_dict(cfg):
        del cfg.data.terms  # as in runs from before the key
    assert config_fingerprint(cfg) == fingerprint
    cfg.data.batch_size += 1
    assert config_fingerprint(cfg) != fingerprint

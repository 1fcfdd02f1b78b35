"""The page of the demo door, made of Gradio's parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mtlface.inference.annotate import annotated
from mtlface.inference.network import Network
from mtlface.inference.predictor import Predictor

HEADERS = ["prediction", "face 1"]


def page(
    network: Network,
    crop: str = "none",
    detector: str | None = None,
    min_score: float | None = None,
) -> Any:
    """A page with a place for a picture, the picture with its predictions, and a table of them.

    Args:
        network: The network.
        crop: How pictures are cut, see `Predictor`.
        detector: For `crop=detect`, see `Predictor`.
        min_score: For `crop=detect`, see `Predictor`.

    Returns:
        A `gradio.Blocks`, to be launched.
    """
    import gradio as gr

    predictor = Predictor(network, crop, detector, min_score=min_score)

    def answer(picture: np.ndarray | None) -> tuple[Image.Image | None, pd.DataFrame | None]:
        return (None, None) if picture is None else see(predictor, picture)

    with gr.Blocks(title="mtlface", analytics_enabled=False) as blocks:
        gr.Markdown(
            f"# {network.config.name}\nDrop a picture of a face. Nothing leaves your machine."
        )
        with gr.Row():
            given = gr.Image(label="Picture", type="numpy", image_mode="RGB")
            drawn = gr.Image(label="Predictions", type="pil", interactive=False)
        table = gr.Dataframe(label="All heads", headers=HEADERS, interactive=False)
        given.change(answer, inputs=given, outputs=[drawn, table], api_name="predict")
    return blocks


def see(predictor: Predictor, picture: np.ndarray) -> tuple[Image.Image, pd.DataFrame]:
    """The picture with what was predicted drawn on it, and the predictions as rows.

    Args:
        predictor: The network.
        picture: uint8 (H, W, 3), RGB.
    """
    found = pd.concat(predictor.stream([("picture", picture)]), ignore_index=True)
    tasks = predictor.network.module.tasks.values()
    drawn = annotated(picture, found.to_dict("records"), tasks)
    shown = found.drop(columns="image").dropna(axis=1, how="all").astype(object)
    by_head = shown.T.reset_index(names="prediction")
    by_head.columns = [HEADERS[0], *(f"face {k + 1}" for k in range(len(found)))]
    return drawn, by_head.map(lambda value: f"{value:.4g}" if isinstance(value, float) else value)

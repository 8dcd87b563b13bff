"""From the command line and tilewright.toml to what the stages take."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from tilewright.boards import get_target
from tilewright.config import CompressSection, Config, check_option, load_config
from tilewright.data import Data, read_arrays, read_data
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Graph
from tilewright.quant.config import PAPER
from tilewright.usercode import is_python, load_activations, load_module

__all__ = ["load_graph", "output_folder", "resolve", "test_data", "user_data"]

DEFAULT_CONFIG = Path("tilewright.toml")


def resolve(options: argparse.Namespace) -> Config:
    """Configuration in effect: tilewright.toml's, changed by what the command line says.

    Raises
    ------
    TilewrightError
        If either is wrong.
    """
    if getattr(options, "activations", None):
        load_activations(options.activations)
    path = Path(options.config) if options.config else DEFAULT_CONFIG
    config = load_config(path if options.config or path.is_file() else None)
    given = {key: value for key, value in vars(options).items() if value is not None}
    if given.get("paper"):
        given = {**PAPER, **given}
    if "bits" in given:
        given = {"weight_bits": given["bits"], "feature_bits": given["bits"], **given}
    sections = {
        "model": {"path": "model", "activations": "activations", "calibration": "calibration", "test": "test", "mean": "mean",
                  "scale": "scale", "input_shape": "input_shape"},
        "quant": {"weight_bits": "weight_bits", "feature_bits": "feature_bits",
                  "static": "static", "per_channel": "per_channel",
                  "objective": "objective", "classes": "classes", "unsigned": "unsigned", "equalize": "equalize",
                  "rescale": "rescale", "bias_correction": "bias_correction",
                  "rounding": "rounding", "joint": "joint", "descent": "descent", "average_bits": "average_bits",
                  "weight_bytes": "weight_bytes", "cycles": "cycles", "loss": "loss", "refine": "refine",
                  "images": "calibration_images"},
        "compress": {"methods": "methods", "train": "train", "epochs": "epochs", "rounds": "rounds",
                     "learning_rate": "learning_rate", "distill": "distill", "seed": "seed"},
        "simulate": {"images": "images", "latency": "latency", "simulator": "simulator"},
        "output": {"directory": "output"},
    }  # fmt: skip
    for section, keys in sections.items():
        changes = {key: _plain(given[option]) for key, option in keys.items() if option in given}
        part = dataclasses.replace(getattr(config, section), **changes)
        config = dataclasses.replace(config, **{section: part})
    for option in ("images", "latency", "calibration_images"):
        if option in given and given[option] < (option != "latency"):
            flag = "--" + option.replace("_", "-")
            raise TilewrightError(f"Option {flag} must be positive, not {given[option]}")
    for option in ("epochs", "rounds", "learning_rate", "seed"):
        if option in given:
            check_option(CompressSection, option, given[option], "--" + option.replace("_", "-"))
    if "target" in given:
        config = dataclasses.replace(config, target=get_target(given["target"]))
    return _with_activations(config)


def _with_activations(config: Config) -> Config:
    """The target given all activations of the user's file, unless it names some itself."""
    if config.model.activations is None or config.target.activations:
        return config
    names = load_activations(config.model.activations)
    return dataclasses.replace(config, target=dataclasses.replace(config.target, activations=names))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def model_path(config: Config) -> str:
    """The model; raises TilewrightError if none was given."""
    if config.model.path is None:
        raise TilewrightError("No model: give an .onnx file or FILE.py:ATTRIBUTE, or model.path")
    return config.model.path


def output_folder(config: Config, name: str) -> Path:
    """Where results go: as configured, or ./build/<name>."""
    return Path(config.output.directory or Path("build") / name)


def load_graph(config: Config) -> Graph:
    """The float network that the configuration names.

    Raises
    ------
    TilewrightError
        If it cannot be loaded.
    """
    from tilewright.api import load

    path, section = model_path(config), config.model
    if not is_python(path):
        return load(path, mean=section.mean, scale=section.scale)
    module = load_module(path)
    return load(module, _example(config), mean=section.mean, scale=section.scale)


def _example(config: Config) -> Any:
    """Inputs to export a PyTorch module with."""
    if config.model.input_shape is not None:
        return np.zeros((1, *config.model.input_shape), np.float32)
    if config.model.calibration is None:
        raise TilewrightError(
            "A PyTorch module needs its input's shape: give --calibration or --input-shape C H W"
        )
    arrays = read_arrays(Path(config.model.calibration))
    arrays.pop("labels", None)
    return tuple(np.asarray(array[:1], np.float32) for array in arrays.values())


def user_data(config: Config, graph: Graph) -> Data:
    """The calibration images; raises TilewrightError if there are none."""
    if config.model.calibration is None:
        raise TilewrightError(
            "No calibration data: give --calibration FILE (.npy or .npz) or model.calibration"
        )
    data = read_data(Path(config.model.calibration), graph)
    return data


def test_data(config: Config, graph: Graph) -> Data | None:
    """The labelled test images, if any were given."""
    path = config.model.test
    return None if path is None else read_data(Path(path), graph)

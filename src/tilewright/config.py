"""The optional tilewright.toml: sections, types and ranges, checked once when it is read."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilewright.boards import TARGETS
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError, nearest
from tilewright.quant.config import OBJECTIVES, ROUNDINGS, QuantConfig
from tilewright.quant.formats import MAX_BITS, MIN_BITS
from tilewright.usercode import load_activations

__all__ = [
    "CompressSection",
    "Config",
    "LayerBits",
    "ModelConfig",
    "OutputConfig",
    "QuantSection",
    "SimulateConfig",
    "check_option",
    "dump_config",
    "load_config",
    "parse_config",
]


def _option(default: Any = None, **limits: Any) -> Any:
    """Dataclass field with limits: `low` and `high` inclusive, or `choices`, or `path=True`."""
    return field(default=default, metadata=limits)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """[model]: what is built.

    Attributes
    ----------
    path : an .onnx file, or file.py:attribute
    activations : Python file that registers activations (docs/activations.md)
    calibration : .npy or .npz whose inputs are used to choose fractional lengths
    test : .npz with `inputs` and `labels`, for accuracy
    mean, scale : the network sees (raw - mean) * scale, per channel or one for all
    input_shape : (C, H, W), to export a PyTorch module without calibration data
    """

    path: str | None = _option(path=True)
    activations: str | None = _option(path=True)
    calibration: str | None = _option(path=True)
    test: str | None = _option(path=True)
    mean: tuple[float, ...] = _option((0.0,))
    scale: tuple[float, ...] = _option((1.0,))
    input_shape: tuple[int, ...] | None = _option(low=1, high=1 << 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBits:
    """[quant.layers.NAME] and [quant.kinds.KIND]: bit widths that differ from [quant]."""

    weight_bits: int | None = _option(low=MIN_BITS, high=MAX_BITS)
    feature_bits: int | None = _option(low=MIN_BITS, high=MAX_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantSection:
    """[quant]: bit widths and how fractional lengths are chosen.

    Attributes
    ----------
    static : one fractional length for the network instead of one for each tensor
    per_channel : a fractional length for the weights of each output channel, not one a layer
    objective : error by which fractional lengths are chosen: "absolute" or "squared"
    classes : whether outputs are scores of classes, by whose softmax their formats are chosen; if not
        given, where the network ends in a softmax
    unsigned : feature maps that cannot be negative get no sign, and twice the resolution
    equalize : rewrite the network by powers of two, so that it suits fixed point better
    rescale : multiply feature maps and their channels so that powers of two fit them
    bias_correction : make each channel's mean result that of the float network
    rounding : of weights: "nearest", or "learned" from the calibration images
    joint : choose the fractional lengths of a layer's weights, bias and output together
    descent : try every fractional length again after the greedy pass, by the outputs' error
    images : calibration images used, from the front of the set
    layers, kinds : other bit widths by layer name, or by kind (conv, depthwise, fc)
    average_bits, weight_bytes, cycles, loss : a budget under which each layer's weight bits are
        chosen instead: bits of a weight on average, bytes of all weights, cycles an image, or the
        squared error of the outputs relative to their energy; one of them at most
    refine : try under a budget whether groups of layers gain by more bits or fewer
    """

    weight_bits: int = _option(8, low=MIN_BITS, high=MAX_BITS)
    feature_bits: int = _option(8, low=MIN_BITS, high=MAX_BITS)
    static: bool = _option(False)
    per_channel: bool = _option(True)
    objective: str = _option("squared", choices=OBJECTIVES)
    classes: bool | None = _option()
    unsigned: bool = _option(True)
    equalize: bool = _option(True)
    rescale: bool = _option(True)
    bias_correction: bool = _option(True)
    rounding: str = _option("learned", choices=ROUNDINGS)
    joint: bool = _option(False)
    descent: bool = _option(False)
    images: int = _option(64, low=1, high=1_000_000)
    average_bits: float | None = _option(low=MIN_BITS, high=MAX_BITS)
    weight_bytes: int | None = _option(low=1, high=1 << 40)
    cycles: int | None = _option(low=1, high=1 << 48)
    loss: float | None = _option(low=0.0, high=1.0)
    refine: bool = _option(True)
    layers: dict[str, LayerBits] = field(default_factory=dict)
    kinds: dict[str, LayerBits] = field(default_factory=dict)

    def options(self, target: Target) -> QuantConfig:
        """What `tilewright.quant` wants to know, for a network that runs on `target`."""
        return QuantConfig(
            weight_bits=self.weight_bits,
            feature_bits=self.feature_bits,
            static=self.static,
            per_channel=self.per_channel,
            objective=self.objective,
            classes=self.classes,
            unsigned=self.unsigned,
            equalize=self.equalize,
            rescale=self.rescale,
            bias_correction=self.bias_correction,
            rounding=self.rounding,
            joint=self.joint,
            descent=self.descent,
            acc_bits=target.acc_bits,
            layer_weight_bits=_given(self.layers, "weight_bits"),
            layer_feature_bits=_given(self.layers, "feature_bits"),
            kind_weight_bits=_given(self.kinds, "weight_bits"),
            kind_feature_bits=_given(self.kinds, "feature_bits"),
        )


def _given(table: Mapping[str, LayerBits], name: str) -> dict[str, int]:
    return {k: getattr(v, name) for k, v in table.items() if getattr(v, name) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressSection:
    """[compress]: how a network is made smaller before it is quantized.

    Attributes
    ----------
    methods : in the order in which they are done, as "prune 0.9", "share 32", "huffman"
    train : .npz with inputs and labels to retrain on
    epochs : of each retraining
    rounds : in which single weights are pruned
    learning_rate, weight_decay, batch : of retraining
    distill : retrain towards what the original network says, and not towards the labels
    seed : of every random number
    lanes : of the compressed weight stream: the largest power of two up to this that divides the
        columns; a target with a decoder has its own
    """

    methods: tuple[str, ...] | None = _option()
    train: str | None = _option(path=True)
    epochs: int = _option(2, low=0, high=100_000)
    rounds: int = _option(4, low=1, high=100)
    learning_rate: float = _option(1e-3, low=1e-9, high=1.0)
    weight_decay: float = _option(1e-4, low=0.0, high=1.0)
    batch: int = _option(64, low=1, high=1 << 16)
    distill: bool = _option(False)
    seed: int = _option(0, low=0, high=1 << 31)
    lanes: int = _option(4, low=2, high=32)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateConfig:
    """[simulate]: the run of the generated Verilog.

    Attributes
    ----------
    images : images run through the whole network
    latency : cycles from a read's address to its first data
    simulator : verilator, or icarus where it is installed (slow)
    """

    images: int = _option(1, low=1, high=1_000_000)
    latency: int = _option(50, low=0, high=100_000)
    simulator: str = _option("verilator", choices=("verilator", "icarus"))


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputConfig:
    """[output]: where results go; ./build/<model name> if not given."""

    directory: str | None = _option(path=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, one attribute a section."""

    model: ModelConfig = ModelConfig()
    compress: CompressSection = CompressSection()
    quant: QuantSection = field(default_factory=QuantSection)
    target: Target = field(default_factory=Target)
    simulate: SimulateConfig = SimulateConfig()
    output: OutputConfig = OutputConfig()


def load_config(path: Path | None) -> Config:
    """Configuration in the TOML file at `path`; the defaults if it is None.

    Paths in the file are relative to its folder.

    Raises
    ------
    TilewrightError
        If the file cannot be read or something in it is unknown, mistyped or out of range.
    """
    if path is None:
        return Config()
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TilewrightError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TilewrightError(f"{path}: not a TOML file: {error}") from error
    return parse_config(table, path)


def parse_config(table: Mapping[str, Any], path: Path) -> Config:
    """Configuration from parsed TOML; `path` is named in messages and anchors relative paths."""
    parts = dict(table)
    model = parts.get("model")
    if isinstance(model, Mapping) and isinstance(model.get("activations"), str):
        load_activations(str((path.parent / model["activations"]).absolute()))
    target = parts.pop("target", {})
    if "target" in table:
        parts["target"] = _target(target, path)
    config = _section(Config, parts, path, "")
    assert isinstance(config, Config)
    return config


def _target(table: Any, path: Path) -> Target:
    if not isinstance(table, dict):
        raise TilewrightError(f"{path}: [target] must be a table, not {table!r}")
    values = dict(table)
    preset = values.pop("preset", "default")
    if preset not in TARGETS:
        hint = nearest(str(preset), TARGETS)
        raise TilewrightError(f"{path}: target.preset {preset!r} is unknown; {hint}")
    known = {f.name for f in dataclasses.fields(Target)}
    for key in values:
        if key not in known:
            hint = nearest(key, {*known, "preset"})
            raise TilewrightError(f"{path}: unknown key target.{key}; {hint}")
    if values.get("activations") == []:
        del values["activations"]
    for key in ("name", "prefix", "leaky", "ternary", "activations", "counters", "clock_mhz"):
        if key in values:
            hint = typing.get_type_hints(Target)[key]
            values[key] = _value(hint, values[key], {}, path, f"target.{key}")
    try:
        return dataclasses.replace(TARGETS[preset], **values)
    except TilewrightError as error:
        raise TilewrightError(f"{path}: [target]: {error}") from error


def _section(kind: type, table: Any, path: Path, prefix: str) -> Any:
    """Instance of the dataclass `kind` from a TOML table called `prefix`."""
    if not isinstance(table, Mapping):
        raise TilewrightError(f"{path}: [{prefix[:-1]}] must be a table, not {table!r}")
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    values = {}
    for key, found in table.items():
        if key not in fields:
            raise TilewrightError(f"{path}: unknown key {prefix}{key}; {nearest(key, fields)}")
        values[key] = _value(hints[key], found, fields[key].metadata, path, prefix + key)
    return kind(**values)


def _value(hint: Any, found: Any, limits: Mapping[str, Any], path: Path, key: str) -> Any:
    """`found`, checked against a type hint and limits."""
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return found if isinstance(found, hint) else _section(hint, found, path, f"{key}.")
    if typing.get_origin(hint) is types.UnionType:
        hint = typing.get_args(hint)[0]
    origin = typing.get_origin(hint)
    if origin is dict:
        kind = typing.get_args(hint)[1]
        if not isinstance(found, Mapping):
            raise TilewrightError(f"{path}: [{key}] must be a table, not {found!r}")
        return {name: _section(kind, sub, path, f"{key}.{name}.") for name, sub in found.items()}
    if origin is tuple:
        item = typing.get_args(hint)[0]
        items = found if isinstance(found, (list, tuple)) else [found]
        if not items:
            raise TilewrightError(f"{path}: {key} must not be empty")
        return tuple(_value(item, value, limits, path, key) for value in items)
    return _scalar(hint, found, limits, path, key)


def check_option(section: type, key: str, value: float, flag: str) -> None:
    """Raise TilewrightError unless what a command's option gives is within the limits of a key."""
    limits = next(f.metadata for f in dataclasses.fields(section) if f.name == key)
    if "low" in limits and not limits["low"] <= value <= limits["high"]:
        raise TilewrightError(
            f"Option {flag} must be in {limits['low']}..{limits['high']}, not {value!r}"
        )


def _scalar(hint: type, found: Any, limits: Mapping[str, Any], path: Path, key: str) -> Any:
    if hint is float and type(found) is int:
        found = float(found)
    if type(found) is not hint:
        kind = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}[hint]
        raise TilewrightError(f"{path}: {key} must be {kind}, not {found!r}")
    if isinstance(found, float) and not math.isfinite(found):
        raise TilewrightError(f"{path}: {key} must be finite, not {found!r}")
    if "choices" in limits and found not in limits["choices"]:
        allowed = ", ".join(limits["choices"])
        raise TilewrightError(f"{path}: {key} must be one of {allowed}, not {found!r}")
    if "low" in limits and not limits["low"] <= found <= limits["high"]:
        allowed = f"{limits['low']}..{limits['high']}"
        raise TilewrightError(f"{path}: {key} must be in {allowed}, not {found!r}")
    if limits.get("path") and isinstance(found, str):
        return str((path.parent / found).absolute())
    return found


def dump_config(config: Config) -> str:
    """The configuration as TOML text that `load_config` reads back to the same configuration."""
    lines: list[str] = []
    _dump(dataclasses.asdict(config), "", lines)
    return "\n".join(lines).strip() + "\n"


def _dump(table: Mapping[str, Any], prefix: str, lines: list[str]) -> None:
    scalars = {k: v for k, v in table.items() if not isinstance(v, Mapping) and v is not None}
    if prefix and (scalars or not any(isinstance(v, Mapping) for v in table.values())):
        lines.append(f"\n[{prefix}]")
    for key, value in scalars.items():
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            name = key if key.isidentifier() and key.isascii() else json.dumps(key)
            _dump(value, f"{prefix}.{name}" if prefix else name, lines)

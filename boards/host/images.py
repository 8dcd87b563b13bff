"""Images and arrays from files."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HostError
from .program import HostProgram, Input

__all__ = ["read_input"]

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def read_input(
    path: Path, program: HostProgram, *, pixel_scale: float = 1.0
) -> dict[str, npt.NDArray[Any]]:
    """What to run a program on: arrays by input name.

    An .npy file holds the only input, an .npz file one array for each. Anything else is an image,
    which Pillow decodes, fits to the input's size and channels, and whose pixels 0..255 are
    multiplied by `pixel_scale`.

    Raises
    ------
    HostError
        If the file cannot be read, or is an image and Pillow is not installed.
    """
    if path.suffix in (".npy", ".npz"):
        loaded = _load_arrays(path)
        if isinstance(loaded, Mapping):
            return dict(loaded)
        return {program.inputs[0].name: loaded}
    if len(program.inputs) != 1:
        names = ", ".join(item.name for item in program.inputs)
        raise HostError(f"{path}: the network has inputs {names}; give an .npz file with them")
    return {program.inputs[0].name: _decode(path, program.inputs[0]) * pixel_scale}


def _load_arrays(path: Path) -> npt.NDArray[Any] | dict[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise HostError(f"{path}: not a file of plain arrays ({error}); use numpy.save") from None


def _decode(path: Path, spec: Input) -> npt.NDArray[np.float32]:
    """Pixels 0..255 in the layout of `spec`."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise HostError(
            f"{path}: images need Pillow, which is not installed; pip install pillow, or give an "
            ".npy file"
        ) from None
    channels, height, width = spec.shape
    if channels not in _MODES:
        raise HostError(f"{path}: the network takes {channels} channels; give an .npy file")
    try:
        with Image.open(path) as image:
            fitted = image.convert(_MODES[channels]).resize((width, height), Image.Resampling.BOX)
            pixels = np.asarray(fitted, np.float32).reshape(height, width, channels)
    except UnidentifiedImageError:
        raise HostError(f"{path}: not an image that Pillow can decode") from None
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror or error}") from None
    return pixels if spec.layout == "nhwc" else pixels.transpose(2, 0, 1)

"""tilewright.toml: what is accepted, what is refused and in which words."""

import re
from pathlib import Path

import pytest

from tilewright.compiler.target import Target
from tilewright.config import Config, LayerBits, dump_config, load_config
from tilewright.errors import TilewrightError


def load(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "tilewright.toml"
    path.write_text(text, "utf-8")
    return load_config(path)


def test_without_a_file_everything_has_a_default():
    assert load_config(None) == Config()
    assert Config().target == Target()


def test_every_section_is_read(tmp_path):
    config = load(
        tmp_path,
        """
        [model]
        path = "net.onnx"
        mean = 127
        scale = [0.5, 1, 2.0]
        input_shape = [3, 8, 8]
        [quant]
        weight_bits = 4
        static = true
        [quant.layers."block.0/conv"]
        weight_bits = 6
        [target]
        preset = "small"
        name = "mine"
        cols = 12
        clock_mhz = 150
        [simulate]
        images = 3
        [output]
        directory = "out"
        """,
    )
    assert config.model.path == str(tmp_path / "net.onnx")
    assert (config.model.mean, config.model.scale) == ((127.0,), (0.5, 1.0, 2.0))
    assert config.model.input_shape == (3, 8, 8)
    assert (config.quant.weight_bits, config.quant.static) == (4, True)
    assert config.quant.layers == {"block.0/conv": LayerBits(weight_bits=6)}
    assert (config.target.rows, config.target.cols, config.target.clock_mhz) == (8, 12, 150.0)
    assert config.simulate.images == 3
    assert config.output.directory == str(tmp_path / "out")


def test_the_resolved_configuration_reads_back_to_itself(tmp_path):
    config = load(
        tmp_path,
        '[quant.layers."a b/ü"]\nfeature_bits = 5\n[quant.layers.c]\n[model]\npath = "x\\ty.onnx"\n'
        "[target]\nleaky = false\n",
    )
    assert load(tmp_path, dump_config(config)) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[quantt]\n", "unknown key quantt; did you mean 'quant'?"),
        (
            "[quant]\nwieght_bits = 4\n",
            "unknown key quant.wieght_bits; did you mean 'weight_bits'?",
        ),
        ("[simulate]\nzzz = 4\n", "unknown key simulate.zzz; known are images, latency, simulator"),
        ("[target]\nrow = 4\n", "unknown key target.row; did you mean 'rows'?"),
        (
            "[quant.layers.c]\nbits = 4\n",
            "unknown key quant.layers.c.bits; did you mean 'weight_bits'?",
        ),
        ("[quant]\nweight_bits = 17\n", "quant.weight_bits must be in 2..16, not 17"),
        ("[quant]\nweight_bits = 8.0\n", "quant.weight_bits must be an integer, not 8.0"),
        ("[quant]\nweight_bits = true\n", "quant.weight_bits must be an integer, not True"),
        ('[quant]\nstatic = "no"\n', "quant.static must be true or false, not 'no'"),
        ('[simulate]\nsimulator = "x"\n', "simulate.simulator must be one of verilator, icarus"),
        ("[model]\nmean = []\n", "model.mean must not be empty"),
        ("[model]\nscale = [nan]\n", "model.scale must be finite, not nan"),
        ("[model]\npath = 3\n", "model.path must be a string, not 3"),
        ("model = 3\n", "[model] must be a table, not 3"),
        ("target = 3\n", "[target] must be a table, not 3"),
        ("[quant]\nlayers = 3\n", "[quant.layers] must be a table, not 3"),
        ("[target]\nrows = 65\n", "[target]: Target 'default': rows must be an integer in 1..64"),
        ('[target]\nclock_mhz = "a"\n', "target.clock_mhz must be a number, not 'a'"),
        ('[target]\npreset = "tyni"\n', "target.preset 'tyni' is unknown; did you mean 'tiny'?"),
        ("[quant\n", "not a TOML file: "),
    ],
)
def test_a_mistake_is_named_with_file_key_and_what_is_allowed(tmp_path, text, message):
    path = tmp_path / "tilewright.toml"
    with pytest.raises(TilewrightError, match=f"^{re.escape(f'{path}: {message}')}"):
        load(tmp_path, text)


def test_a_missing_or_binary_file_is_a_clean_error(tmp_path):
    with pytest.raises(TilewrightError, match="cannot be read: No such file"):
        load_config(tmp_path / "none.toml")
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TilewrightError, match="not a TOML file"):
        load_config(path)

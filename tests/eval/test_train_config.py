"""The configuration of a run: defaults, paths, changes, and one sentence for what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.train_config import TrainRunConfig, read_config
from webrec.eval.train_run import evenly
from webrec.models.config import LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig

FILES = 'train = "a.jsonl"\nvalid = "b.jsonl"\noutput = "out"\n'


def write(folder: Path, text: str, name: str = "run.toml") -> Path:
    for data in ("a.jsonl", "b.jsonl"):
        (folder / data).write_text("{}\n")
    (folder / name).write_text(text, "utf-8")
    return folder / name


def read(folder: Path, text: str, *changes: str) -> TrainRunConfig:
    return read_config(write(folder, text), changes)


def test_defaults_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    config = read(tmp_path, FILES)
    assert (config.train, config.valid, config.output) == tuple(tmp_path / n for n in ("a.jsonl", "b.jsonl", "out"))
    assert config.tuning == LoraTuning()
    assert config.head == MPHeadConfig()
    (tmp_path / "llama").mkdir()
    assert read(tmp_path, FILES + 'backbone = "llama"').backbone == str(tmp_path / "llama")
    assert read(tmp_path, FILES + 'backbone = "org/llama"').backbone == "org/llama"


def test_tables(tmp_path: Path) -> None:
    text = (
        FILES
        + 'head = "none"\n[tuning]\nkind = "soft_prompt"\ntokens = 4\n[training]\nepochs = 2\n[prompt]\npages = 0\n'
    )
    config = read(tmp_path, text)
    assert config.head is None
    assert config.tuning == SoftPromptTuning(kind="soft_prompt", tokens=4)
    assert (config.training.epochs, config.prompt.pages) == (2, 0)
    assert read(tmp_path, FILES + "[tuning]\nrank = 2").tuning == LoraTuning(rank=2)
    as_json = {"train": "a.jsonl", "valid": "b.jsonl", "output": "out", "head": None, "training": {"epochs": 3}}
    config = read_config(write(tmp_path, json.dumps(as_json), "run.json"))
    assert (config.head, config.training.epochs) == (None, 3)


def test_changes(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        FILES + "[training]\nepochs = 2\n",
        "training.epochs=7",
        "tuning.kind=soft_prompt",
        "head.layers=[0, 1]",
        "output=other place",
        'dtype="float32"',
    )
    assert (config.training.epochs, config.tuning.kind, config.dtype) == (7, "soft_prompt", "float32")
    assert config.head == MPHeadConfig(layers=(0, 1))
    assert config.output == tmp_path / "other place"
    assert read(tmp_path, FILES, "head=none").head is None
    assert read(tmp_path, FILES, "head.top_k=none").head == MPHeadConfig(top_k=None)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "train: it is missing; set it"),
        ("train = ", "it is not TOML ("),
        (FILES.replace("a.jsonl", "c.jsonl"), "c.jsonl is not a file that exists; give a JSONL file"),
        (FILES.replace('"out"', '"a.jsonl"'), "a.jsonl is a file; give a folder"),
        (FILES + "epochs = 1", "epochs: there is no such field; remove it or check its spelling"),
        (FILES + "[training]\nepohcs = 1", "training.epohcs: there is no such field"),
        (
            FILES + "[training]\nbatch_size = 0",
            "training.batch_size: Input should be greater than or equal to 1 (given: 0)",
        ),
        (FILES + '[training]\nbatch_size = "many"', "training.batch_size: Input should be a valid integer"),
        (FILES + "training = 3", "training: it is not a table; write its settings as names with values"),
        (FILES + '[tuning]\nkind = "ia3"', "tuning.kind: 'ia3' is unknown; use lora or soft_prompt"),
        (FILES + "[tuning]\nrank = 0", "tuning.rank: Input should be greater than or equal to 1"),
        (FILES + "[tuning]\ntokens = 3", "tuning.tokens: there is no such field"),
        (FILES + 'head = "big"', "head: it is not a table"),
        (FILES + "[head]\nlayers = [1, 1]", "head.layers: must be distinct numbers"),
        (FILES + "[prompt]\npages = 51", "prompt.pages: Input should be less than or equal to 50"),
        (FILES + 'adapter = "x"', "adapter: a run trains a new adapter; remove this setting"),
    ],
)
def test_a_wrong_setting_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["training", "=3", "training.=3", ".epochs=1", "train.x=1"])
def test_a_wrong_change_is_one_sentence(tmp_path: Path, change: str) -> None:
    with pytest.raises(ConfigurationError, match="--set: "):
        read(tmp_path, FILES, change)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_config(tmp_path / "no.toml")
    with pytest.raises(ConfigurationError, match="is not JSON"):
        read_config(write(tmp_path, "{", "run.json"))
    with pytest.raises(ConfigurationError, match="is not an object"):
        read_config(write(tmp_path, "[]", "run.json"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        read_config(tmp_path / "bytes.toml")


def test_every_setting_has_a_help_text() -> None:
    schema = TrainRunConfig.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        assert all(field.get("description") for field in model["properties"].values())


def test_it_needs_no_torch() -> None:
    code = "import sys, webrec.eval.train_config, webrec.eval.train_folder, webrec.cli.train; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_settings_and_errors_need_no_torch() -> None:
    """`webrec train` without the extra says so: what it imports before must come without."""
    code = "import sys; sys.modules['torch'] = None; import webrec.eval.train_run, webrec.eval.train_config"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


@pytest.mark.parametrize(("count", "wanted", "places"), [(10, 3, [0, 3, 6]), (2, 64, [0, 1]), (4, 4, [0, 1, 2, 3])])
def test_places_at_even_distances(count: int, wanted: int, places: list[int]) -> None:
    assert evenly(count, wanted) == places

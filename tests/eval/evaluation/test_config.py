"""Reading the configuration of an evaluation, and what is said of a wrong one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError
from webrec.eval.evaluation.config import EvalConfig, read_eval_config, resumed_config, system_name
from webrec.eval.systems.config import (
    CoOccurrenceConfig,
    LanguageModelConfig,
    OwnConfig,
    PopularityConfig,
    RandomConfig,
)

from .runs import write_config


def test_a_system_is_a_kind_or_a_table(tmp_path: Path) -> None:
    config = read_eval_config(write_config(tmp_path))
    assert config.systems == (RandomConfig(), PopularityConfig(), CoOccurrenceConfig(name="near", steps=2))
    assert [system_name(s) for s in config.systems] == ["random", "popularity", "near"]
    assert config.data[0].path == tmp_path / "films"
    assert config.output == tmp_path / "run"


def test_changes_and_other_formats(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    assert read_eval_config(path, ["threads=2", "seeds=[4]"]).seeds == (4,)
    toml = tmp_path / "eval.toml"
    toml.write_text('output = "o"\nsystems = ["random"]\n[[data]]\npath = "films"\ntest_users = "none"\n')
    assert read_eval_config(toml).data[0].test_users is None


def test_a_change_inside_a_list(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    config = read_eval_config(path, ["systems.2.steps=7", "data.0.draws=3", "systems.0=popularity", "systems.1=random"])
    assert [system_name(s) for s in config.systems] == ["popularity", "random", "near"]
    assert config.systems[2] == CoOccurrenceConfig(name="near", steps=7)
    assert config.data[0].draws == 3
    for change in ("data.1.draws=2", "data.films.draws=2", "data.-1.draws=2"):
        with pytest.raises(
            ConfigurationError, match=r"--set: '.*' names '.*' in a list of 1; use a number from 0 to 0"
        ):
            read_eval_config(path, [change])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("eval.yaml", "output: run\nsystems: [random]\ndata: [{path: films}]\nsystems: [popularity]\n"),
        ("eval.yaml", "output: run\ndata: [{path: films}]\nsystems: [{kind: random, kind: popularity}]\n"),
        ("eval.json", '{"output": "run", "systems": ["random"], "data": [{"path": "f"}], "systems": ["popularity"]}'),
    ],
)
def test_a_name_that_is_set_twice(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=rf"{name}: (systems|kind) is set twice; leave one of the two out"):
        read_eval_config(tmp_path / name)


def test_keys_that_yaml_takes_and_settings_do_not(tmp_path: Path) -> None:
    (tmp_path / "eval.yaml").write_text("? [a, b]\n: c\n")
    with pytest.raises(ConfigurationError, match="it is not YAML"):
        read_eval_config(tmp_path / "eval.yaml")
    (tmp_path / "eval.yaml").write_text("a: &a {x: 1}\nb: &b {y: 1}\nc: {<<: *a, <<: *b}\n")
    with pytest.raises(ConfigurationError, match="<< is set twice; write << once, with a list"):
        read_eval_config(tmp_path / "eval.yaml")


def test_what_an_anchor_brings_may_be_set_anew(tmp_path: Path) -> None:
    text = "systems:\n- &a {kind: co_occurrence, steps: 2}\n- {<<: *a, name: far, steps: 9}\n"
    (tmp_path / "eval.yaml").write_text(f"output: run\ndata: [{{path: films}}]\n{text}")
    config = read_eval_config(tmp_path / "eval.yaml")
    assert config.systems == (CoOccurrenceConfig(steps=2), CoOccurrenceConfig(name="far", steps=9))


def test_own_code_lies_beside_the_configuration(tmp_path: Path) -> None:
    systems = [{"kind": "own", "name": n, "at": at} for n, at in (("a", "mine.py:A"), ("b", "package.module:B"))]
    config = read_eval_config(write_config(tmp_path, systems=systems))
    assert [s.at for s in config.systems if isinstance(s, OwnConfig)] == [f"{tmp_path}/mine.py:A", "package.module:B"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"systms": []}, "systms: there is no such field; remove it or check its spelling"),
    ({"systems": ["popularty"]}, r"systems\[0\].kind: 'popularty' is unknown; use random, popularity, .* or fused"),
    ({"systems": [{"kind": "co_occurrence", "steps": 0}]}, r"systems\[0\].steps: Input should be greater"),
    ({"systems": [{"kind": "popularity", "stepz": 1}]}, r"systems\[0\].stepz: there is no such field"),
    ({"systems": [{"steps": 1}]}, r"systems\[0\]: it has no kind; say which it is, like kind: NAME"),
    ({"systems": "random"}, r"systems: it is not a list; write it in brackets, like \[random\]"),
    ({"systems": [{"kind": "sasrec", "heads": 3}]}, r"systems\[0\]: width: it is 50, no multiple of 3 heads"),
    ({"systems": [{"kind": "popularity", "history": "other"}]}, r"systems\[0\]: history: popularity reads none"),
    ({"systems": [{"kind": "own", "at": "mine"}]}, r"systems\[0\].at: "),
    ({"systems": [{"kind": "llm", "tune": {}}]}, "data: films has no tuning_examples, and llm is fine-tuned on such"),
    ({"data": ["films"]}, r"data\[0\]: it is not a table; write its settings as names with values"),
    ({"seeds": 3}, r"seeds: it is not a list; write it in brackets, like \[3\]"),
    ({"seeds": [-1]}, r"seeds\[0\]: Input should be greater"),
    ({"seeds": [2**32]}, r"seeds\[0\]: Input should be less"),
    (
        {"systems": ["random", "popularity"], "comparisons": [["random", "popularity"], ["popularity", "random"]]},
        "comparisons: random and popularity are there in both directions; leave one of the two out",
    ),
    ({"systems": []}, "systems: .* at least 1 item"),
    ({"systems": ["random", "random"]}, "systems: random is there twice; give one of them another name"),
    ({"systems": [{"kind": "random", "name": "../x"}]}, r"systems\[0\].name: "),
    ({"data": []}, "data: .* at least 1 item"),
    ({"data": [{}]}, r"data\[0\].path: it is missing"),
    ({"data": [{"path": "films"}, {"path": "x/films"}]}, "data: films is there twice"),
    (
        {"data": [{"path": "films", "samplings": ["covered"]}]},
        r"corpora: films has none, and covered candidates need one; add it",
    ),
    (
        {"data": [{"path": "films", "samplings": ["popular"]}]},
        r"data\[0\].samplings\[0\]: Input should be 'uniform', 'matched' or 'covered'",
    ),
    ({"data": "films"}, "data: "),
    ({"part": "train"}, "part: Input should be 'validation' or 'test'"),
    ({"seeds": [1, 1]}, "seeds: 1 is there twice"),
    ({"comparisons": [["random", "bert"]]}, "comparisons: bert is none of the systems"),
    (
        {"data": [{"path": "films", "history_items": 50}], "systems": [{"kind": "llm", "name": "m"}]},
        r"data: films has history_items 50, of which m's prompt.history_items sees 10; give both the same",
    ),
    (
        {"data": [{"path": "films", "history_items": 50}], "retrievals": [{"name": "r"}]},
        r"data: films has history_items 50, of which the history_items of the retrieval r sees 10; give both the same",
    ),
    ({"comparisons": [["random", "random"]]}, "comparisons: random is compared with itself; name a rival"),
    (
        {
            "retrievals": [{"name": "r", "pages": 5}],
            "systems": [{"kind": "llm", "name": "m", "retrieval": "r", "prompt": {"pages": 20}}],
        },
        "systems: m reads 20 pages, and the retrieval r finds 5; raise its pages, or lower prompt.pages",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_wrong_settings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_eval_config(write_config(tmp_path, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "it is not YAML"),
        ("- 1", "not an object of settings"),
        ("", "not an object"),
        ("\xff", "output: it is missing|not UTF-8|not an object"),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "eval.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=message) as caught:
        read_eval_config(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_eval_config(tmp_path / "nowhere.yaml")


def test_models_that_lie_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "adapters" / "mine").mkdir(parents=True)
    systems = [{"kind": "llm", "backbone": "a/hub-name", "adapter": "adapters/mine"}, "random"]
    (tmp_path / "eval.json").write_text(json.dumps({"output": "run", "data": [{"path": "films"}], "systems": systems}))
    model = read_eval_config(tmp_path / "eval.json").systems[0]
    assert isinstance(model, LanguageModelConfig)
    assert (model.backbone, model.adapter) == ("a/hub-name", str(tmp_path / "adapters" / "mine"))


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--resume: .* holds no evaluation; give the folder of one"):
        resumed_config(tmp_path)


def test_every_setting_has_a_help_text() -> None:
    from webrec.eval.data.config import DataConfig
    from webrec.eval.systems.config import SASRecConfig

    for model in (EvalConfig, DataConfig, SASRecConfig, CoOccurrenceConfig):
        assert all(field.description for field in model.model_fields.values())


def test_reading_settings_needs_no_torch() -> None:
    code = "import sys, webrec.eval.evaluation.config, webrec.cli.evaluate; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_one_file_extends_another(tmp_path: Path) -> None:
    base = write_config(tmp_path)
    own = tmp_path / "own.yaml"
    own.write_text("extends: eval.yaml\noutput: other\nseeds: [3]\n", encoding="utf-8")
    first, second = read_eval_config(base), read_eval_config(own)
    assert (second.output, second.seeds) == (tmp_path.resolve() / "other", (3,))
    assert (second.data, second.systems) == (first.data, first.systems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nothing.yaml", r"nothing.yaml: it cannot be read"),
        ("extends: own.yaml", r"extends: own.yaml extends itself by way of own.yaml; remove one of the two"),
        ("extends: [a]", r"extends: it is no name of a file; write it like extends: own.yaml"),
    ],
)
def test_what_cannot_be_extended(tmp_path: Path, text: str, message: str) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        read_eval_config(own)

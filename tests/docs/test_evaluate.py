"""docs/evaluate.md: its example is a run, its commands work as they stand, its tables say what the code says."""

from __future__ import annotations

import gzip
import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from click.testing import CliRunner

pytest.importorskip("pyarrow")

from webrec.cli.evaluate import evaluate
from webrec.cli.main import main
from webrec.eval.data.dataset import Item
from webrec.eval.evaluation.config import read_eval_config
from webrec.eval.evaluation.rows import Piece, RowStore
from webrec.eval.retrieval.corpus import build_corpus
from webrec.eval.systems.config import AnySystem

from ..release_server import published  # noqa: TID252
from ..worlds import skewed, write_dataset  # noqa: TID252

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "evaluate.md").read_text("utf-8")
CONFIG, REVIEWS_CONFIG, PAGES_CONFIG, OWN_CONFIG = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
OWN_SYSTEM, EXAMPLES = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
GET, EVALUATE, CLUSTER = (b.splitlines() for b in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL))


def test_commands_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    Path("eval.yaml").write_text(CONFIG, "utf-8")
    told = []
    with published("ml-latest-small", skewed(users=300, items=200, length=10, flat=3000), monkeypatch):
        for command in [*GET, *EVALUATE]:
            program, *arguments = shlex.split(command)
            assert program == "webrec"
            done = CliRunner().invoke(main, arguments)
            assert done.exit_code == 0, done.output
            told.append(done.stdout)
    assert "format                                   movielens" in told[2]
    tables = told[len(GET) :]
    assert done.exit_code == 0
    assert CliRunner().invoke(main, ["report", "runs/first"]).exit_code == 0
    assert (
        tables[0].split("rows and summary")[0]
        == tables[1].split("rows and summary")[0]
        != tables[2].split("rows and")[0]
    )
    kept = [p.relative_to(tmp_path / "runs" / "first") for p in (tmp_path / "runs" / "first").rglob("*") if p.is_file()]
    for path in kept:
        assert path.parts[0] in {"rows", ".lock"} or f"`{path.name}`" in DOCUMENT


def test_reviews_as_pages_can_be_read(tmp_path: Path) -> None:
    told = yaml.safe_load(REVIEWS_CONFIG)
    review = {"user_id": "u1", "parent_asin": "i1", "timestamp": 5, "title": "Soft", "text": "A soft one."}
    (tmp_path / "reviews.jsonl.gz").write_bytes(gzip.compress(json.dumps(review).encode() + b"\n"))
    rest = {"output": "run", "systems": ["random"], "data": [{"path": "beauty"}]}
    (tmp_path / "eval.yaml").write_text(yaml.safe_dump({**told, **rest}), "utf-8")
    config = read_eval_config(tmp_path / "eval.yaml")
    corpus = build_corpus(config.corpora["beauty"], {"i1": Item("i1", "Soap")}, tmp_path / "corpora")
    assert corpus.signed == corpus.counts["about an item"] == 1
    assert (config.retrievals[0].not_by_user, config.retrievals[0].before_target) == (True, True)


def test_the_example_with_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_sentencepiece: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    data = skewed(users=300, items=200, length=10, flat=3000)
    write_dataset(tmp_path / "films", data)
    titles = [item.title for item in data.items.values()]
    pages = [
        {"title": f"The {title}", "text": "A fine one.", "item_id": i}
        for i, title in zip(data.items, titles, strict=True)
    ]
    Path("pages.jsonl").write_text("".join(json.dumps(page) + "\n" for page in pages), "utf-8")
    noise = [{"title": f"Post {n}", "text": f"Thing {n} for sale."} for n in range(300)]
    Path("noise.jsonl").write_text("".join(json.dumps(page) + "\n" for page in noise), "utf-8")
    config = PAGES_CONFIG.replace("test_users: 100", "test_users: 5").replace(
        "reasoning_tokens: 64", "reasoning_tokens: 8"
    )
    told = yaml.safe_load(config)
    for entry in (*told["retrievals"], *(s for s in told["systems"] if isinstance(s, dict))):
        entry["backbone"] = str(tiny_sentencepiece)
    told["systems"] = [
        {"kind": "llm", "backbone": str(tiny_sentencepiece)} if s == "llm" else s for s in told["systems"]
    ]
    Path("eval.yaml").write_text(yaml.safe_dump(told), "utf-8")
    done = CliRunner().invoke(main, ["eval", "eval.yaml"])
    assert done.exit_code == 0, done.output
    for name in ("page_count", "llm", "rag", "rag-shuffled"):
        assert len(re.findall(rf"^{name} ", done.stdout, re.MULTILINE)) == 2
    for folder in sorted(p.name for p in (tmp_path / "runs" / "pages").iterdir() if p.is_dir()):
        assert f"`{folder}/" in DOCUMENT


def test_a_system_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path / "cache"))
    write_dataset(tmp_path / "films", skewed(users=300, items=200, length=10, flat=3000))
    Path("mine.py").write_text(OWN_SYSTEM, "utf-8")
    Path("eval.yaml").write_text(OWN_CONFIG, "utf-8")
    done = CliRunner().invoke(main, ["eval", "eval.yaml"])
    assert done.exit_code == 0, done.output
    assert len(re.findall(r"^next ", done.stdout, re.MULTILINE)) == 2
    told: dict[str, Any] = {}
    exec(EXAMPLES, told)
    (row, *_) = (
        RowStore(tmp_path / "runs" / "own" / "rows")
        .read([Piece("films", "uniform", "next", 0, 0, len(told["examples"]))])
        .to_pylist()
    )
    first = told["examples"][0]
    mine: dict[str, Any] = {}
    exec(OWN_SYSTEM, mine)
    system = mine["Next"](floor=0.5)
    system.fit(told["training"], 0)
    assert (row["key"], row["scores"]) == (first.key, system.rank(first))


def test_the_tables_are_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "write_settings.py"))
    assert script["with_tables"](DOCUMENT, script["eval_tables"]()) == DOCUMENT, "run scripts/write_settings.py"


def test_every_kind_is_told() -> None:
    union, _ = get_args(AnySystem)
    for model in get_args(union):
        assert f"`{model.model_fields['kind'].get_default()}`" in DOCUMENT


def test_the_commands_of_a_cluster() -> None:
    """What they do is tests/eval/evaluation/test_on_ray.py's; here only that the options are there."""
    token, head, worker, run = (shlex.split(line, comments=True) for line in CLUSTER)
    assert token[:2] == ["export", "RAY_AUTH_MODE=token"]
    assert head[:2] == worker[:2] == ["ray", "start"]
    context = evaluate.make_context("eval", run[2:])
    assert (context.params["ray"], context.params["actors"]) == ("FIRST:6379", 8)

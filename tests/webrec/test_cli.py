"""The command line: good input, bad input, long work that is interrupted."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webrec.cli.main import main
from webrec.cli.rows import ResultRows
from webrec.errors import InputError, SearchError
from webrec.nodes.context import RunContext
from webrec.nodes.schema import Recommendation

USER = {"history": ["Red boots", "Warm gloves"], "candidates": ["Wool scarf", "Garden hose"], "target": "Wool scarf"}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("TAVILY_API_KEY", "BRAVE_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def write(folder: Path, content: Any, name: str = "user.json") -> Path:
    path = folder / name
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, "utf-8")
    return path


def test_a_table_json_and_a_report(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    file = write(tmp_path, USER)
    common = [file, "--backbone", tiny_bytes, "--providers", "sample", "--reasoning-tokens", 12]
    table = run("recommend", *common, "--report", tmp_path / "out.html")
    assert table.exit_code == 0, table.output
    assert "Wool scarf  ← taken next" in table.output
    assert "head: none" in table.output
    assert (tmp_path / "out.html").read_text("utf-8").startswith("<!")
    answer = run("recommend", *common, "--json")
    result = Recommendation.model_validate({k: v for k, v in json.loads(answer.stdout).items() if k != "user"})
    assert len(result.ranking) == 2
    assert result.settings["reasoning_tokens"] == 12


def test_every_setting_is_an_option_with_the_same_help() -> None:
    text = " ".join(run("recommend", "--help").output.split())
    for name, field in RunContext.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        words = str(field.description).split()
        assert all(w in text.replace("- ", "-") or "-" in w for w in words), name


@pytest.mark.parametrize(
    ("content", "options", "sentence"),
    [
        ("not json", [], "it is not JSON"),
        ("", [], "it is empty"),
        ("  \n", [], "it is empty"),
        ("3", [], "input: it is not an object"),
        ({"candidates": ["a"]}, [], "history: it is missing"),
        ({"history": [], "candidates": ["a"]}, [], "history: it is empty"),
        ({**USER, "candidates": ["a", ""]}, [], "candidates[1]: it has no visible character"),
        ({**USER, "candidates": ["a", "b", "A\u200b"]}, [], "candidates[2]: 'A' is the same title as candidates[0]"),
        ({**USER, "candidates": ["a", 3]}, [], "candidates[1]: it is int, not text"),
        ({**USER, "candidates": ["a" * 10_000]}, [], "candidates[0]: it is 10,000 characters long"),
        (
            {**USER, "history": [f"{n} {'word ' * 150}" for n in range(200)]},
            ["--history-items", "200", "--providers", "sample"],
            "fit; give fewer",
        ),
        (
            USER,
            ["--providers", "bing"],
            "providers: 'bing' is unknown; use one of auto, tavily, brave, searxng, duckduckgo, local, sample",
        ),
        (USER, ["--providers", "tavily"], "providers: tavily needs a key; set the environment variable TAVILY_API_KEY"),
        (USER, [], "providers: no key is set"),
        (
            USER,
            ["--providers", "local", "--pages-path", "/no/such/folder"],
            "pages_path: '/no/such/folder' does not exist",
        ),
        (USER, ["--pages", "ten"], "pages: Input should be a valid integer"),
        (USER, ["--backbone", "/no/such/model", "--retrieval"], "backbone: '/no/such/model' is neither a folder"),
        ('{"history": ["a"], "candidates": ["b"]}\n{"history": }', [], "line 2 is not JSON"),
        ("[" * 100_000, [], "it is not JSON (a number or nesting is too large)"),
        ('{"history": ["a"], "candidates": ["b"]}\n' + "[" * 100_000, [], "line 2 is not JSON (a number or nesting"),
        ([], [], "it holds no user"),
        ('{"history": ["a"], "candidates": ["b"]}\n{"history": ["a"]}', [], "line 2: candidates: it is missing"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path, tiny_bytes: Path, offline: None, content: Any, options: list[str], sentence: str
) -> None:
    backbone = [] if "--backbone" in options else ["--backbone", str(tiny_bytes)]
    provider = ["--providers", "sample"] if "--backbone" in options else []
    result = run("recommend", write(tmp_path, content), *backbone, *provider, *options)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_backbone_that_is_no_llama(tmp_path: Path, offline: None) -> None:
    write(tmp_path, {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "config.json")
    result = run("recommend", write(tmp_path, USER), "--backbone", tmp_path, "--no-retrieval")
    assert result.exit_code == 2
    assert "is a 'gpt2' model, not a LLaMA" in result.stderr


def test_a_missing_file(tmp_path: Path) -> None:
    result = run("recommend", tmp_path / "nothing.json")
    assert (result.exit_code, result.stderr) == (
        2,
        "webrec: nothing.json: it cannot be read (No such file or directory); give a JSON or JSONL file\n",
    )


def test_the_target_changes_no_score(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    answers = []
    for target in ("Wool scarf", "Garden hose", "Unknown", None):
        file = write(tmp_path, {**USER, "target": target})
        answers.append(run("recommend", file, "--backbone", tiny_bytes, "--no-retrieval", "--json").stdout)
    assert len(set(answers)) == 1
    assert answers[0]


def test_hostile_titles_reach_no_terminal(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    hostile = ["\x1b[2Jred", "a\u202eb", "[bold]markup[/bold]", "<|im_start|>system", "{{7*7}}"]
    file = write(tmp_path, {**USER, "candidates": hostile})
    for output in ("--no-json", "--json"):
        arguments = ["recommend", file, "--backbone", tiny_bytes, "--providers", "sample"]
        result = run(*arguments, *(["--json"] if output == "--json" else []))
        assert result.exit_code == 0, result.output
        assert not {"\x1b", "\u202e"} & set(result.output)
        assert "[bold]markup[/bold]" in result.output


def test_several_users_resume_without_repeating(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    users = [{**USER, "id": f"u{n}", "history": [f"Item {n}"]} for n in range(4)]
    output = tmp_path / "out.jsonl"
    common = ["--backbone", tiny_bytes, "--no-retrieval", "--output", output]
    first = write(tmp_path, "\n".join(json.dumps(u) for u in users[:2]), "first.jsonl")
    assert run("recommend", first, *common).exit_code == 0
    whole = output.read_bytes()
    output.write_bytes(whole + b'{"key": "torn')  # a writer killed in mid-line
    file = write(tmp_path, "\n".join(json.dumps(u) for u in users), "users.jsonl")
    result = run("recommend", file, *common)
    assert "2 of 4 users written" in result.stderr
    rows = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert sorted(r["user"] for r in rows) == ["u0", "u1", "u2", "u3"]
    assert output.read_bytes().startswith(whole)
    again = run("recommend", file, *common)
    assert "0 of 4 users written" in again.stderr
    other = run("recommend", file, *common, "--seed", 1)
    assert "4 of 4 users written" in other.stderr, "other settings are other work"


@pytest.mark.parametrize(
    "content", ["my notes\n", "my notes", json.dumps(USER), '{"key', '{"key": 1}\n', "[" * 9_000 + "\n"]
)
def test_a_file_of_somebody_else_is_not_written_to(tmp_path: Path, offline: None, content: str) -> None:
    mine, file = write(tmp_path, content, "mine"), write(tmp_path, USER)
    refused = run("recommend", file, "--backbone", tmp_path / "none", "--no-retrieval", "--output", mine)
    if content == '{"key':  # as a writer killed in mid-line leaves it
        assert "backbone: " in refused.stderr
        return
    assert "--output: line 1 of" in refused.stderr
    assert (refused.exit_code, mine.read_text()) == (2, content)
    assert not (tmp_path / "mine.lock").exists()


def test_a_report_through_a_link_leaves_the_link(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    link = tmp_path / "report.html"
    link.symlink_to(tmp_path / "real.html")
    assert (
        run("recommend", write(tmp_path, USER), "--backbone", tiny_bytes, "--no-retrieval", "--report", link).exit_code
        == 0
    )
    assert link.is_symlink()
    assert (tmp_path / "real.html").exists()


@pytest.mark.parametrize("where", ["", "folder", "file/out.jsonl"])
@pytest.mark.parametrize("option", ["--output", "--report"])
def test_where_nothing_can_be_written_nothing_is_computed(
    tmp_path: Path, offline: None, where: str, option: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / where if where else ""
    result = run("recommend", write(tmp_path, USER), "--backbone", tmp_path / "none", "--no-retrieval", option, path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert "backbone" not in result.stderr
    assert not list(tmp_path.rglob("*.lock"))


def test_a_full_disk_is_one_sentence(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match=r"--output: .* cannot be used \(No space left on device\); make room"):
        ResultRows.append(_rows(tmp_path / "out.jsonl"), {"key": "k", "user": "u"})


def _rows(path: Path) -> ResultRows:
    rows = ResultRows(path.with_name("empty.jsonl"))
    rows.path = path
    return rows


def test_one_user_who_cannot_be_ranked_keeps_nobody_else_from_it(
    tmp_path: Path, tiny_bytes: Path, offline: None
) -> None:
    users = [{**USER, "id": f"u{n}"} for n in range(5)]
    users[2] |= {"history": ["word " * 190] * 200}
    file, output = write(tmp_path, "\n".join(map(json.dumps, users)), "users.jsonl"), tmp_path / "out.jsonl"
    common = [
        "--backbone",
        tiny_bytes,
        "--no-retrieval",
        "--history-items",
        200,
        "--output",
        output,
        "--concurrency",
        2,
    ]
    report = tmp_path / "report.html"
    first = run("recommend", file, *common, "--report", report)
    assert first.exit_code == 2
    assert re.search(r"^webrec: u2: history and candidates: they need [\d,]+ tokens", first.stderr, re.MULTILINE)
    assert first.stderr.endswith("webrec: 1 of 5 users have no result; why is said above\n")
    assert "4 of 5 users written" in first.stderr
    assert report.exists()
    again = run("recommend", file, *common)
    assert "0 of 5 users written" in again.stderr
    assert sorted(json.loads(line)["user"] for line in output.read_text().splitlines()) == ["u0", "u1", "u3", "u4"]


def test_a_service_that_is_down_ends_the_batch_and_wrong_titles_never_do(
    tmp_path: Path, tiny_bytes: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def failing(history: list[str], *_: Any, **__: Any) -> Any:
        asked.append(history)
        if history[0].startswith("wrong"):
            raise InputError("history: too long")
        raise SearchError("the service is down")

    monkeypatch.setattr("webrec.api.arecommend", failing)
    users = [{**USER, "id": f"u{n}", "history": [f"{kind} {n}"]} for kind in ("wrong", "right") for n in range(20)]
    file = write(tmp_path, "\n".join(map(json.dumps, users)), "users.jsonl")
    for concurrency in (1, 4):
        asked.clear()
        result = run("recommend", file, "--backbone", tiny_bytes, "--no-retrieval", "--concurrency", concurrency)
        assert result.exit_code == 1
        assert "webrec: the service is down; 8 users failed and none succeeded" in result.stderr
        assert result.stderr.count(": history: too long") == 20
        assert 28 <= len(asked) <= 28 + concurrency


def test_users_with_the_same_request_have_a_row_each(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    twins = [{**USER, "id": name} for name in ("u1", "twin")]
    nameless = [{**USER, "history": ["Red boots"]}] * 2
    users = [twins[0], *nameless, {**USER, "id": "u2", "history": ["Hat"]}, twins[1]]
    file, output = write(tmp_path, "\n".join(map(json.dumps, users)), "users.jsonl"), tmp_path / "out.jsonl"
    common = ["--backbone", tiny_bytes, "--no-retrieval", "--output", output, "--concurrency", 1]
    assert "5 of 5 users written" in run("recommend", file, *common).stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert sorted(row["user"] for row in rows) == ["line 2", "line 3", "twin", "u1", "u2"]
    output.write_text("".join(json.dumps(row) + "\n" for row in rows if row["user"] not in {"twin", "line 2"}))
    assert "2 of 5 users written to" in run("recommend", file, *common).stderr
    assert sorted(json.loads(line)["user"] for line in output.read_text().splitlines())[2:] == ["twin", "u1", "u2"]
    moved = write(tmp_path, "\n".join(map(json.dumps, reversed(users))), "users.jsonl")
    assert "0 of 5 users written" in run("recommend", moved, *common).stderr


def test_a_title_may_hold_what_ends_lines_elsewhere(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    users = [{**USER, "history": [f"Red{mark}boots"]} for mark in "\u2028\u0085\u2029\x1c"]
    file = write(tmp_path, "\r\n".join(json.dumps(u, ensure_ascii=False) for u in users), "users.jsonl")
    result = run("recommend", file, "--backbone", tiny_bytes, "--no-retrieval", "--json")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 4), result.output


def test_many_at_a_time_are_shown_in_the_files_order_with_the_results_of_one_at_a_time(
    tmp_path: Path, tiny_bytes: Path, offline: None
) -> None:
    users = [{**USER, "id": f"u{n}", "history": [f"Item {n} " * (1 + 9 * (n == 0))]} for n in range(6)]
    file = write(tmp_path, "\n".join(json.dumps(u) for u in [*users, users[0]]), "users.jsonl")
    common = ["--backbone", tiny_bytes, "--providers", "sample", "--dtype", "float32", "--json"]
    answers = []
    for concurrency in (1, 5):
        result = run("recommend", file, *common, "--concurrency", concurrency, "--report", tmp_path / "out.html")
        assert result.exit_code == 0, result.output
        answers.append([json.loads(line) for line in result.stdout.splitlines()])
    assert [a["user"] for a in answers[0]] == [a["user"] for a in answers[1]] == [*(u["id"] for u in users), "u0"]
    for one, other in zip(*answers, strict=True):
        assert [r["title"] for r in one["ranking"]] == [r["title"] for r in other["ranking"]]
        assert [r["score"] for r in one["ranking"]] == pytest.approx([r["score"] for r in other["ranking"]], abs=1e-4)
        assert one["reasoning"]["text"] == other["reasoning"]["text"]
        assert one["keywords"] == other["keywords"]


@pytest.mark.slow
def test_killed_and_interrupted_runs_lose_no_row(tmp_path: Path, tiny_bytes: Path, offline: None) -> None:
    # Many, so that the last are not written before the signal arrives.
    users = [{**USER, "id": f"u{n}", "history": [f"Item {n}"]} for n in range(120)]
    file = write(tmp_path, "\n".join(json.dumps(u) for u in users), "users.jsonl")
    output = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "webrec", "recommend", str(file), "--backbone", str(tiny_bytes)]
    command += ["--no-retrieval", "--output", str(output)]
    for sign in (signal.SIGKILL, signal.SIGINT):
        before = output.read_text().count("\n") if output.exists() else 0
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        while not output.exists() or output.read_text().count("\n") < before + 3:
            assert process.poll() is None, "finished before it could be stopped"
            time.sleep(0.02)
        process.send_signal(sign)
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        assert process.returncode == (-signal.SIGKILL if sign == signal.SIGKILL else 130), errors
    subprocess.run(command, check=True, capture_output=True)
    rows = [json.loads(line)["user"] for line in output.read_text("utf-8").splitlines()]
    assert sorted(rows) == sorted(f"u{n}" for n in range(120))


def test_doctor_tells_no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAVILY_API_KEY", "canary-5f1e")
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path))
    for options in ([], ["--json"], ["--verify"]):
        result = run("doctor", *options)
        assert result.exit_code == 0
        assert "canary" not in result.output
    facts = json.loads(run("doctor", "--json").output)
    assert facts["keys"] == {"TAVILY_API_KEY": True, "BRAVE_API_KEY": False, "WEBREC_DECODER_KEY": False}
    assert facts["cached"] == []


def test_a_disk_that_is_full_elsewhere_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/some/file")

    monkeypatch.setattr(main.commands["doctor"], "callback", full)
    result = run("doctor")
    assert (result.exit_code, result.stderr) == (
        2,
        "webrec: /some/file: No space left on device; free some space there, then call the same command again\n",
    )

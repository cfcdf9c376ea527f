"""The file of `webrec recommend`: standard input, misspelled fields, targets, and where a problem is said to be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from webrec.cli.main import main
from webrec.cli.users import read_users
from webrec.errors import InputError

USER = {"history": ["Red boots", "Warm gloves"], "candidates": ["Wool scarf", "Amélie"]}


def run(file: Any, *options: Any, charset: str = "utf-8", given: str | None = None) -> Result:
    arguments = ["recommend", str(file), "--no-retrieval", *map(str, options)]
    return CliRunner(charset=charset).invoke(main, arguments, input=given)


def write(folder: Path, content: Any, name: str = "users.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


@pytest.mark.parametrize("lines", [1, 2])
def test_a_dash_reads_standard_input(tiny_bytes: Path, lines: int) -> None:
    done = run("-", "--backbone", tiny_bytes, "--json", given=f"{json.dumps(USER)}\n" * lines)
    assert done.exit_code == 0, done.output
    names = [json.loads(line)["user"] for line in done.stdout.splitlines()]
    assert names == (["user"] if lines == 1 else ["line 1", "line 2"])


def test_a_file_whose_name_is_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {**USER, "id": "from the file"}, "-")
    assert [user.name for user in read_users("./-")] == ["from the file"]


def test_standard_input_is_named_in_errors() -> None:
    for given, says in (("", "standard input: it is empty"), ("x", "standard input: it is not JSON")):
        done = run("-", given=given)
        assert (done.exit_code, says in done.stderr) == (2, True), done.output


def test_what_a_terminal_cannot_write_loses_no_result(tiny_bytes: Path, tmp_path: Path) -> None:
    file = write(tmp_path, USER)
    table = run(file, "--backbone", tiny_bytes, charset="ascii")
    assert table.exit_code == 0, table.output
    assert "Am?lie" in table.stdout
    assert "???" in table.stdout  # the bar
    told = json.loads(run(file, "--backbone", tiny_bytes, "--json", charset="ascii").stdout)
    assert "Amélie" in {c["title"] for c in told["ranking"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([USER, {**USER, "history": []}], "users.json: [1]: history: it is empty"),
        ({**USER, "history": []}, "users.json: history: it is empty"),
        (f'{json.dumps(USER)}\n{{"history": }}', "users.json: line 2 is not JSON (Expecting value: column 13); write"),
        ("[\n }", "users.json: it is not JSON (Expecting value: line 2, column 2); give"),
        (
            {"histroy": ["a"], "candidates": ["a"]},
            "users.json: histroy: there is no such field; write history, or give",
        ),
        ({**USER, "canditates": ["a"]}, "users.json: canditates: there is no such field; write candidates, or give"),
        (
            [USER, {**USER, "targte": "x"}],
            "users.json: [1]: targte: there is no such field; write target, or give it another name",
        ),
    ],
)
def test_a_problem_is_named_with_file_place_and_field(tmp_path: Path, content: Any, says: str) -> None:
    done = run(write(tmp_path, content))
    assert done.exit_code == 2
    assert done.stderr.startswith(f"webrec: {says}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^\.: it cannot be read \(Is a directory\)"):
        read_users(".")


def test_no_provider_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["recommend", str(write(tmp_path, USER)), "--providers", ""])
    assert (done.exit_code, done.stderr) == (
        2,
        "webrec: providers: none is named; name at least one, or turn retrieval off\n",
    )


def test_a_user_is_named_by_any_of_three_fields(tmp_path: Path) -> None:
    users = [{**USER, "id": "a"}, {**USER, "user_id": 7}, {**USER, "name": "c"}, {**USER, "id": None}, USER]
    found = read_users(str(write(tmp_path, users)))
    assert [(user.name, user.has_id) for user in found] == [
        ("a", True), ("7", True), ("c", True), ("[3]", False), ("[4]", False),
    ]  # fmt: skip


def test_a_target_that_is_no_candidate_is_told(tiny_bytes: Path, tmp_path: Path) -> None:
    for targets, says in (
        (["Soap"], "webrec: user: target: it is none of the candidates, so it is not marked\n"),
        (
            ["Soap", "Amélie", 3],
            "webrec: target: 2 of 3 users have one that is none of their candidates, line 1 first;",
        ),
        (["Amélie", None], ""),
    ):
        users = "\n".join(json.dumps({**USER, "target": target}) for target in targets)
        done = run(write(tmp_path, users), "--backbone", tiny_bytes, "--json")
        assert done.exit_code == 0
        assert done.stderr.startswith(says)
        assert bool(done.stderr) == bool(says)
        assert len(done.stdout.splitlines()) == len(targets)

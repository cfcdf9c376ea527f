"""What is asked of the allocators: the same by the command and by the Studio, and nothing where they are others."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from webrec.models import allocator
from webrec.models.allocator import ENVIRONMENT, LIMITS, MKL_BUFFERS, give_back, is_limited, limit_allocator


def test_the_command_sets_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[int, int] = {}

    class Library:
        def __init__(self, name: str | None) -> None:
            assert name is None

        def mallopt(self, option: int, value: int) -> int:
            given[option] = value
            return 1

    monkeypatch.setattr(ctypes, "CDLL", Library)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(allocator, "_limited", False)
    assert not is_limited()
    limit_allocator()
    assert is_limited()
    assert given == dict(LIMITS.values())
    assert len(given) == 3
    assert os.environ[MKL_BUFFERS] == "1"
    given.clear()
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    monkeypatch.setenv(MKL_BUFFERS, "0")
    limit_allocator()
    assert len(given) == 2  # what the user set stays
    assert os.environ[MKL_BUFFERS] == "0"


def test_a_process_whose_starter_set_the_limit_asked_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_limited", False)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1")
    assert is_limited()


def test_the_studio_sets_the_same() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text(encoding="utf-8")
    assert dict(re.findall(r"\b((?:MALLOC|MKL|ONEDNN|LRU)_\w+)=(\d+)", makefile)) == ENVIRONMENT


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("tokens", [1800, 6000])
def test_what_one_prompt_needs_of_onednn_is_kept(dtype: str, tokens: int) -> None:
    program = f"""
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from webrec.models.allocator import limit_allocator
from webrec.models.backbone import Backbone
from webrec.models.onednn_linear import to_onednn
from webrec.models.scoring import score_candidates

limit_allocator()
torch.set_num_threads(1)
config = LlamaConfig(vocab_size=64, hidden_size=128, intermediate_size=192, num_hidden_layers=2, num_attention_heads=2,
                     num_key_value_heads=1, max_position_embeddings=8192)
model = LlamaForCausalLM(config).to(torch.{dtype}).eval().requires_grad_(False)
to_onednn(model)
backbone = Backbone("small", model, None, "")
titles = [[1] * (2 + number) for number in range(20)]
for _ in range(2):
    print("a pass", flush=True)
    score_candidates(backbone, [2] * {tokens}, titles)
"""
    told = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **ENVIRONMENT, "ONEDNN_VERBOSE": "profile_create"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    _, first, again = told.split("a pass\n")
    if "create" not in first:
        pytest.skip("this torch's oneDNN does not tell, or is not asked")
    assert "cache_miss" in first
    assert "cache_miss" not in again  # each layer of each pass would compile anew


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: pytest.fail("no library is asked"))
    monkeypatch.setenv(MKL_BUFFERS, "1")
    limit_allocator()
    give_back()


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is not glibc")
def test_what_lies_free_in_the_middle_of_the_heap_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = (
        ctypes.c_void_p,
        [ctypes.c_size_t],
        [ctypes.c_void_p],
    )
    size, number = 100_000, 1000  # below any limit for blocks of their own
    blocks = [libc.malloc(size) for _ in range(number)]
    for block in blocks:
        ctypes.memset(block, 1, size)
    for block in blocks[:-1]:  # the last one keeps the heap from shrinking at its end
        libc.free(block)
    before = resident()
    give_back()
    assert before - resident() > size * number / 2
    libc.free(blocks[-1])

"""`generate` writes what decoding by hand, without a cache, writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from webrec.errors import ConfigurationError

from .attached import HEADS, TUNINGS, Attached, attach, load, tokens

PADDING, NEW = 4, 6  # NEW tokens after prompts whose first row is padded
HEAD_NAMES = ["literal", "others", "pairwise"]


def prompts(attached: Attached, batch: int = 2, length: int = 9) -> tuple[Tensor, Tensor]:
    """Token ids and attention mask."""
    ids, real = tokens(attached.llama, batch, length), torch.ones(batch, length, dtype=torch.long)
    real[0, :PADDING] = 0
    return ids, real


def next_logits(attached: Attached, ids: Tensor, answer: Tensor, real: Tensor) -> Tensor:
    """(batch, vocabulary), by hand, row by row."""
    rows = []
    for row, written in enumerate(answer.tolist()):
        prompt = ids[row][real[row].bool()].tolist()
        mask = [True] * len(prompt) + [False] * len(written)
        rows.append(attached.by_hand(prompt + written, mask)[-1])
    return torch.stack(rows)


def generate(attached: Attached, ids: Tensor, real: Tensor, **settings: Any) -> Tensor:
    """The new tokens; none of them is the end."""
    fixed = {"max_new_tokens": NEW, "min_new_tokens": NEW, "pad_token_id": 0, "eos_token_id": None}
    with torch.no_grad():
        written: Tensor = attached.model.generate(input_ids=ids, attention_mask=real, **fixed | settings)
    return written[:, -NEW:]


pytestmark = pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning")  # PEFT's own


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("head", HEAD_NAMES)
def test_greedy(tiny_llama: Path, head: str, cache: str) -> None:
    attached = attach(load(tiny_llama), **HEADS[head])
    ids, real = prompts(attached)
    written = generate(attached, ids, real, do_sample=False, cache_implementation=cache)
    for t in range(NEW):
        assert torch.equal(next_logits(attached, ids, written[:, :t], real).argmax(-1), written[:, t])
    attached.head.detach()
    assert not torch.equal(generate(attached, ids, real, do_sample=False), written)


@pytest.mark.parametrize("head", HEAD_NAMES)
def test_greedy_with_a_soft_prompt(tiny_llama: Path, head: str) -> None:
    attached = attach(load(tiny_llama), "prompt", **HEADS[head])
    ids, real = tokens(attached.llama, 2, 9), torch.ones(2, 9, dtype=torch.long)
    # PEFT numbers the positions of a left-padded row through the padding, so none is padded here.
    written = generate(attached, ids, real, do_sample=False)
    for t in range(NEW):
        assert torch.equal(next_logits(attached, ids, written[:, :t], real).argmax(-1), written[:, t])


@pytest.mark.parametrize("tuning", TUNINGS)
def test_sampling(tiny_llama: Path, tuning: str) -> None:
    attached = attach(load(tiny_llama), tuning, **HEADS["pairwise"])
    ids, real = tokens(attached.llama, 2, 9), torch.ones(2, 9, dtype=torch.long)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        written = generate(attached, ids, real, do_sample=True, top_k=0, top_p=1.0, temperature=1.0)
        torch.manual_seed(5)
        for t in range(NEW):
            p = next_logits(attached, ids, written[:, :t], real).float().softmax(-1)
            assert torch.equal(torch.multinomial(p, 1)[:, 0], written[:, t])


@pytest.mark.parametrize("head", HEAD_NAMES)
def test_beam_search(tiny_llama: Path, head: str) -> None:
    beams = 3
    attached = attach(load(tiny_llama), **HEADS[head])
    ids, real = prompts(attached)
    written = generate(attached, ids, real, do_sample=False, num_beams=beams)
    for row in range(2):
        paths, scores = torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, dtype=torch.float64)
        for _ in range(NEW):
            same = [row] * len(paths)
            log_p = next_logits(attached, ids[same], paths, real[same]).log_softmax(-1)
            best = (scores[:, None] + log_p).flatten().topk(beams)
            width = log_p.shape[1]
            paths = torch.cat([paths[best.indices // width], best.indices[:, None] % width], 1)
            scores = best.values
        assert torch.equal(paths[0], written[row])


def test_several_answers_to_one_prompt(tiny_llama: Path) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids, real = prompts(attached)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        written = generate(attached, ids, real, do_sample=True, top_k=0, num_return_sequences=3, output_logits=True)
    assert written.shape == (6, NEW)


@pytest.mark.parametrize("settings", [{"prefill_chunk_size": 4}, {"prompt_lookup_num_tokens": 2}])
def test_what_cuts_the_prompt_or_adds_tokens_in_lumps_is_refused(tiny_llama: Path, settings: dict[str, int]) -> None:
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids = tokens(attached.llama, 1, 3).repeat(1, 4)
    with pytest.raises(ConfigurationError, match=r"node_mask|compute the prompt\s+again"):
        generate(attached, ids, torch.ones_like(ids), do_sample=False, **settings)


@pytest.mark.parametrize("seed", [4, 49, 55, 58, 96, 138, 168])
def test_looked_up_tokens_are_no_part_of_the_prompt(tiny_llama: Path, seed: int) -> None:
    """Prompt lookup proposes answer tokens together with the prompt. These prompts hold what is written after them, so
    that the proposal may well be taken; it must not be read before."""
    attached = attach(load(tiny_llama), **HEADS["literal"])
    start = tokens(attached.llama, 1, 4, seed).repeat(1, 3)
    written = generate(attached, start, torch.ones_like(start), do_sample=False)
    ids = torch.cat([start[:, -2:], written[:, :1], start], 1)
    expected = generate(attached, ids, torch.ones_like(ids), do_sample=False)
    try:
        found = generate(attached, ids, torch.ones_like(ids), do_sample=False, prompt_lookup_num_tokens=1)
    except ConfigurationError:
        return
    assert torch.equal(found, expected)


def test_without_a_cache_it_writes_the_same_or_refuses(tiny_llama: Path) -> None:
    """`use_cache=False` gives prompt and answer to a fresh pass, which cannot tell them apart."""
    attached = attach(load(tiny_llama), **HEADS["literal"])
    ids, real = prompts(attached)
    expected = generate(attached, ids, real, do_sample=False)
    try:
        found = generate(attached, ids, real, do_sample=False, use_cache=False)
    except ConfigurationError:
        return
    assert torch.equal(found, expected)

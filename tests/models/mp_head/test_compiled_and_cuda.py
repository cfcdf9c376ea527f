"""Compiled, and on a GPU, the attached model computes the same."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from .attached import HEADS, attach, before, load, tokens
from .test_training import batch, gradients, new, open_gates, step

needs_compiler = pytest.mark.skipif(
    not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler (g++)"
)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT's own


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("head", ["literal", "others", "pairwise"])
def test_compiled_without_a_cache(tiny_llama: Path, head: str) -> None:
    attached = attach(load(tiny_llama, torch.float32), **HEADS[head])
    ids = tokens(attached.llama, 2, 14)
    mask = torch.tensor([before(14, 9)] * 2)
    expected = attached.logits(ids, node_mask=mask, use_cache=False)
    compiled = torch.compile(attached.model)
    with torch.no_grad():
        found = compiled(input_ids=ids, node_mask=mask, use_cache=False).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["literal", "pairwise"])
def test_compiled_training(tiny_bytes: Path, kind: str) -> None:
    model, head = new(tiny_bytes, "lora", {"kind": kind, "top_k": 5, "hops": 2}, torch.float32)
    open_gates(head)
    step(model)
    expected = {name: gradient.clone() for name, gradient in gradients(head).items()}
    model.zero_grad()
    torch.compile(model)(**batch(model), use_cache=False).loss.backward()
    for name, gradient in gradients(head).items():
        scale = max(float(expected[name].abs().max()), 1e-3)
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-3 * scale)


@needs_cuda
@pytest.mark.parametrize("tuning", ["lora", "prompt"])
@pytest.mark.parametrize("head", HEADS)
def test_on_a_gpu(tiny_llama: Path, head: str, tuning: str) -> None:
    """All nodes are kept, so that another order of summation cannot change which are."""
    config = HEADS[head] | {"top_k": None}
    attached = attach(load(tiny_llama), tuning, **config)
    ids = tokens(attached.llama, 2, 14)
    mask = torch.tensor([before(14, 9)] * 2)
    expected = attached.logits(ids, node_mask=mask)
    for dtype, tolerance in ((torch.float64, 1e-5), (torch.float32, 1e-3), (torch.bfloat16, 0.1)):
        other = attach(load(tiny_llama, dtype).cuda(), tuning, **config)
        assert {parameter.device.type for parameter in other.head.parameters()} == {"cuda"}
        found = other.logits(ids.cuda(), node_mask=mask).cpu().double()  # the mask may be on the CPU
        assert (found - expected).norm() < tolerance * expected.norm()


@needs_cuda
@pytest.mark.parametrize("head", HEADS)
def test_generating_on_a_gpu(tiny_llama: Path, head: str) -> None:
    attached = attach(load(tiny_llama), **HEADS[head])
    ids = tokens(attached.llama, 2, 9)
    settings = {"max_new_tokens": 5, "min_new_tokens": 5, "pad_token_id": 0, "eos_token_id": None, "do_sample": False}
    expected = attached.model.generate(input_ids=ids, **settings)
    attached.model.cuda()
    assert torch.equal(attached.model.generate(input_ids=ids.cuda(), **settings).cpu(), expected)


@needs_cuda
@pytest.mark.parametrize("kind", ["literal", "linear", "pairwise"])
def test_training_on_a_gpu(tiny_llama: Path, kind: str) -> None:
    model, head = new(tiny_llama, "lora", {"kind": kind, "top_k": 5, "hops": 2})
    open_gates(head)
    step(model)
    expected = gradients(head)
    model.zero_grad()
    model.cuda()
    model(**{name: tensor.cuda() for name, tensor in batch(model).items()}).loss.backward()
    for name, gradient in gradients(head).items():
        scale = max(float(expected[name].abs().max()), 1e-6)
        torch.testing.assert_close(gradient.cpu(), expected[name], rtol=0, atol=1e-4 * scale)

"""What a head costs beside its backbone: time and memory for prompts of 256 to 8,192 tokens.

The head is timed inside the forward pass it belongs to, so that a noisy machine hits both alike.
"""

from __future__ import annotations

import ctypes
import gc
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from webrec.models.backbone import sharing_weights
from webrec.models.mp_head.config import MPHeadConfig

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

T = TypeVar("T")

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)
HEADS = {
    "literal, k 64": MPHeadConfig(),
    "literal without self loops, k 64": MPHeadConfig(self_loops=False),
    "literal, 3 hops, k 64": MPHeadConfig(hops=3),
    "pairwise, k 64": MPHeadConfig(kind="pairwise"),
    "pairwise, 3 hops, k 64": MPHeadConfig(kind="pairwise", hops=3),
    "LIN-64": MPHeadConfig(kind="linear"),
    "LIN-Head (reads all tokens)": MPHeadConfig(kind="linear", top_k=None),
}


def llama_7b(device: str) -> LlamaForCausalLM:
    """LLaMA-2-7B's shape with random bfloat16 weights; its numbers mean nothing, its time does."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=max(LENGTHS),
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    model.train(False)
    model.requires_grad_(False)
    return model


def measure_heads(
    llama: LlamaForCausalLM,
    rounds: int,
    lengths: Sequence[int] = LENGTHS,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """One row for each length and head, the bare backbone included; times in seconds, memory in MiB."""
    import torch

    from webrec.models.mp_head.model import MPHead, set_gates

    rows: list[dict[str, Any]] = []
    generator = torch.Generator().manual_seed(0)
    for length in lengths:
        ids = torch.randint(100, llama.config.vocab_size, (1, length), generator=generator).to(llama.device)
        for name, config in {"bare": None, **HEADS}.items():
            carrier = sharing_weights(llama)
            if config is not None:
                # No LoRA, so that the head alone is measured; in use it reads a stored task feature, as here.
                set_gates(MPHead(config.model_copy(update={"task_feature": "zero"}), llama.config).attach(carrier), 1.0)
            clock = _HeadClock(carrier, 2)
            passes = max(1, rounds * 1024 // length)
            if length < 2048:
                clock.forward(ids)  # warm up
            peaks, times = [], []
            for _ in range(passes):
                peak, taken = peak_mib(partial(clock.forward, ids), llama.device)
                peaks.append(peak)
                times.append(taken)
            row = {
                "tokens": length,
                "head": name,
                "passes": passes,
                "forward_s": statistics.median(whole - head for whole, head in times),
                "head_s": statistics.median(head for _, head in times),
                "share": statistics.median(head / (whole - head) for whole, head in times),
                "peak_mib": statistics.median(peaks),
            }
            rows.append(row)
            say(f"{length:>6} tokens  {name:34} {row['share']:8.2%}  {row['peak_mib']:8.1f} MiB")
    return rows


def measure_growth(llama: LlamaForCausalLM, repeats: int, lengths: Sequence[int] = LENGTHS) -> list[dict[str, Any]]:
    """Seconds that each head takes by itself, without the passes around it: the median of `repeats`."""
    import torch

    from webrec.models.mp_head.attach import attention_hook
    from webrec.models.mp_head.model import MPHead, set_gates

    rows: list[dict[str, Any]] = []
    attention: Any = sharing_weights(llama).model.layers[2].self_attn
    for name, config in HEADS.items():
        head = MPHead(config.model_copy(update={"task_feature": "zero"}), llama.config).to(llama.device).eval()
        set_gates(head, 1.0)
        attention.mp_head = head.layers["2"]
        hook = attention_hook(2)
        for length in lengths:
            hidden = torch.randn(1, length, llama.config.hidden_size, device=llama.device, dtype=llama.dtype)
            given = {"hidden_states": hidden, "node_mask": torch.ones(1, length, dtype=torch.bool, device=llama.device)}
            times = []
            with torch.inference_mode():
                for _ in range(repeats + 1):
                    _wait(llama)
                    began = time.perf_counter()
                    hook(attention, (), given, (hidden, None))
                    _wait(llama)
                    times.append(time.perf_counter() - began)
            rows.append({"head": name, "tokens": length, "seconds": statistics.median(times[1:])})
    return rows


def _wait(llama: LlamaForCausalLM) -> None:
    if llama.device.type == "cuda":
        import torch

        torch.cuda.synchronize(llama.device)


def growth(rows: list[dict[str, Any]], head: str, least: int = 1024) -> float:
    """Exponent p of `time ~ N^p` of a head between `least` and the greatest number of tokens; 1 is linear."""
    times = {row["tokens"]: row["seconds"] for row in rows if row["head"] == head and row["tokens"] >= least}
    first, last = min(times), max(times)
    return math.log(times[last] / times[first]) / math.log(last / first)


class _HeadClock:
    """Times one layer's head within a forward pass: the head's hook runs between two of ours."""

    def __init__(self, llama: LlamaForCausalLM, layer: int) -> None:
        self.llama = llama
        self.cuda = llama.device.type == "cuda"
        self.marks: list[Any] = []
        attention = llama.model.layers[layer].self_attn
        attention.register_forward_hook(lambda *_: self.marks.append(self._now()), prepend=True)
        attention.register_forward_hook(lambda *_: self.marks.append(self._now()))

    def forward(self, ids: torch.Tensor) -> tuple[float, float]:
        """Seconds of a whole pass over `ids`, and of the head in it."""
        import torch

        self.marks = []
        with torch.inference_mode():
            began = self._now()
            self.llama.model(input_ids=ids, use_cache=False, node_mask=torch.ones_like(ids, dtype=torch.bool))
            ended = self._now()
        return self._between(began, ended), self._between(*self.marks)

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _between(self, first: Any, second: Any) -> float:
        if not self.cuda:
            return float(second - first)
        second.synchronize()
        return float(first.elapsed_time(second)) / 1000


def peak_mib(work: Callable[[], T], device: torch.device) -> tuple[float, T]:
    """Most memory that `work` takes beyond what was taken before, in MiB, and what it returns."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        result = work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20, result
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return math.nan, work()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # or else memory that was freed before hides what is taken now
    reset.write_text("5")  # Linux: forget the peak so far
    before = _kib(status, "VmRSS")
    result = work()
    return (_kib(status, "VmHWM") - before) / 2**10, result


def _kib(status: Path, field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found.group(1))

"""The straightforward Hugging Face way of each step, timed: `generate()`, all attentions, one forward a candidate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from webrec.models.backbone import Backbone

_MEASURED = 2


@cache
def _model(source: str, dtype: str, attention: str) -> LlamaForCausalLM:
    import torch
    from transformers import LlamaForCausalLM

    from webrec.models.backbone import _resolve
    from webrec.models.config import BackboneConfig

    folder, _ = _resolve(BackboneConfig(backbone=source))
    loaded: Any = LlamaForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), attn_implementation=attention)
    model: LlamaForCausalLM = loaded.eval()
    return model


def generate(backbone: Backbone, prompt: Sequence[int], tokens: int, dtype: str) -> float:
    """Seconds of a greedy `generate()` of exactly `tokens` tokens with their scores."""
    import torch

    model: Any = _model(backbone.name, dtype, "sdpa")
    ids = torch.tensor([list(prompt)])
    began = time.perf_counter()
    with torch.inference_mode():
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            output_scores=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
    return time.perf_counter() - began


def read_attentions(backbone: Backbone, prompt: Sequence[int], generated: Sequence[int]) -> float:
    """Seconds of one pass, in the backbone's format, that returns the attention of every layer, and of Eq. 2 over the last."""
    import torch

    model: Any = _model(backbone.name, backbone.dtype, "eager")
    ids = torch.tensor([[*prompt, *generated]])
    began = time.perf_counter()
    with torch.inference_mode():
        attention = model(ids, use_cache=False, output_attentions=True, logits_to_keep=1).attentions[-1]
        attention[0].mean(0)[-len(generated) :, -len(generated) :].tril(-1).amax(0).tolist()
    return time.perf_counter() - began


def one_by_one(backbone: Backbone, prompt: Sequence[int], candidates: Sequence[Sequence[int]]) -> float:
    """Seconds of one forward for each candidate, in the backbone's format, with logits for its tokens; measured on a few, scaled to all by their tokens."""
    import torch

    model: Any = _model(backbone.name, backbone.dtype, "sdpa")
    began = time.perf_counter()
    measured = candidates[:_MEASURED]
    with torch.inference_mode():
        for candidate in measured:
            ids = torch.tensor([[*prompt, *candidate]])
            logits = model(ids, use_cache=False, logits_to_keep=len(candidate) + 1).logits[0, :-1]
            logits.float().log_softmax(-1).gather(1, torch.tensor(candidate)[:, None]).sum().item()
    seconds = time.perf_counter() - began
    tokens = [sum(len(prompt) + len(c) for c in part) for part in (candidates, measured)]
    return seconds * tokens[0] / tokens[1]

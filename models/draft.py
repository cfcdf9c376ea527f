"""Drafts of what comes next, by the same model in 4 bits over the same cache; the model itself then reads a draft in one pass.

Self-speculative decoding (Zhang et al. 2023, "Draft & Verify"; Leviathan et al. 2023): on CPUs one token costs a pass over all weights,
and several in one pass cost little more. A draft is only ever checked, so the tokens are those of the model alone.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from webrec.models.decode_step import PACKED_BYTES, DecodeStep, StepCache

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

    from webrec.models.text_in_progress import TextInProgress

LOOKED_UP = 3
"""Tokens looked up and read beside the last one: on CPUs a pass over four tokens costs little more than over one."""

_LOGITS_RATIO = 8
"""With this many times more outputs than inputs, a layer's outputs are logits: 8 bits, which are quicker there."""

_drafts: WeakKeyDictionary[LlamaForCausalLM, Draft | None] = WeakKeyDictionary()
_lock = threading.Lock()


class Draft:
    """A model's layers in 4 bits, its logits in 8. `passes`: how many it has made; `tokens`: those that they read."""

    def __init__(self, model: LlamaForCausalLM) -> None:
        self._step = DecodeStep(model, _product)
        self.passes = self.tokens = 0

    def write(self, text: TextInProgress, cache: StepCache) -> list[int]:
        """What may come next in `text`, at most `text.drafted` tokens, none after an end token; what `cache` holds is left as it was.

        The draft itself is helped by what followed the same words before, as the model would be.
        """
        import torch

        held, most = cache.held, min(text.drafted, text.guessable)
        written: list[int] = []
        while len(written) < most and not text.end_ids.intersection(written[-1:]):
            guess = text.looked_up(min(LOOKED_UP, most - len(written) - 1), written)
            last, begin = [*text.ids, *written][-1], cache.held
            logits, _ = self._step(torch.tensor([[last, *guess]]), cache)
            self.passes += 1
            self.tokens += 1 + len(guess)
            for at, token in enumerate(logits[0].argmax(-1).tolist()):
                written.append(token)
                cache.held = begin + at + 1
                if token in text.end_ids or guess[at : at + 1] != [token]:
                    break
        cache.held = held
        return written


def draft_of(model: LlamaForCausalLM) -> Draft | None:
    """The draft of `model`, made on first use and gone with it; None where it would not be quick."""
    with _lock:
        if model not in _drafts:
            _drafts[model] = Draft(model) if _pays(model) else None
        return _drafts[model]


def _pays(model: LlamaForCausalLM) -> bool:
    """On a CPU, in float32, if every projection is a plain one and a second copy is not too large.

    And if it has quick 8-bit products: with AVX2 alone 4 bits take as long as float32 does, and 8 bits longer.
    """
    import torch

    from webrec.models import int8_in_float
    from webrec.models.int4 import fits, is_fast
    from webrec.models.int8 import is_exact
    from webrec.models.onednn_linear import is_plain

    size = sum(p.numel() * p.element_size() for p in model.parameters())
    if model.device.type != "cpu" or model.dtype != torch.float32 or size > PACKED_BYTES:
        return False
    products: list[Any] = [
        module for layer in model.model.layers for name, module in layer.named_modules() if name.endswith("_proj")
    ]
    plain = all(is_plain(module) and fits(module.weight) for module in products)
    return plain and is_plain(model.lm_head) and is_fast() and is_exact() and not int8_in_float.is_needed()


def _product(modules: list[Any]) -> Any:
    import torch

    from webrec.models.int4 import Int4Product
    from webrec.models.int8 import Int8Linear
    from webrec.models.int8_few_rows import Int8FewRows, is_fast

    weight = torch.cat([module.weight.detach() for module in modules])
    bias = None if modules[0].bias is None else torch.cat([module.bias.detach() for module in modules])
    if weight.shape[0] >= _LOGITS_RATIO * weight.shape[1]:
        logits = Int8Linear(weight, bias)
        return Int8FewRows([logits]) if is_fast() else logits
    return Int4Product(weight, bias)

"""Greedy decoding of several prompts together: the weights are read once a step for all of them, not once for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from webrec.errors import RunCancelled
from webrec.models.decoding import Decoded, StopReason, entropy_of, repeats_itself

if TYPE_CHECKING:
    from webrec.models.backbone import Backbone


def decode_together(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    limit: int,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[tuple[Decoded, Any]]:
    """What `decode_greedily` gives for each prompt, up to rounding, with the key/value cache of that prompt alone.

    Rows are padded on the left, each token keeps the position it has alone, and a row that stops leaves the batch. In float32 the
    tokens are those of one prompt at a time but for ties within rounding; in bfloat16 rounding alone can change a word. Memory: the
    caches twice. Raises `ValueError` for an empty prompt, `RunCancelled` once `cancelled()` is true.
    """
    import torch
    from transformers import DynamicCache

    if any(not prompt for prompt in prompts):
        raise ValueError("each prompt needs at least one token")
    model, device = backbone.model, backbone.device
    ids: list[list[int]] = [[] for _ in prompts]
    entropy: list[list[float]] = [[] for _ in prompts]
    stop: list[StopReason] = ["limit"] * len(prompts)

    def take(number: int, token: int, nats: float) -> bool:
        """Whether row `number` goes on after `token`."""
        if token in backbone.chat.end_ids:
            stop[number] = "end"
            return False
        ids[number].append(token)
        entropy[number].append(nats)
        if repeats_itself(ids[number]):
            stop[number] = "repetition"
            return False
        return len(ids[number]) < limit

    with torch.inference_mode():
        # Each prompt alone: no padding to compute, and the causal kernel instead of a mask.
        caches: list[Any] = []
        first = []
        for prompt in prompts:
            if cancelled():
                raise RunCancelled("the run was cancelled while the backbone was reasoning")
            caches.append(DynamicCache(config=model.config))
            step = torch.tensor([list(prompt)], device=device)
            output = model(input_ids=step, past_key_values=caches[-1], use_cache=True, logits_to_keep=1)
            first.append(output.logits[0, -1])
        logits = torch.stack(first) if first else None
        rows = list(range(len(prompts))) if limit > 0 else []
        together: Any = None
        while rows and logits is not None:
            tokens, nats = logits.argmax(-1).tolist(), entropy_of(logits).tolist()
            kept = [at for at, n in enumerate(rows) if take(n, tokens[at], nats[at])]
            if not kept:
                break
            if cancelled():
                raise RunCancelled("the run was cancelled while the backbone was reasoning")
            if together is None:
                rows = [rows[at] for at in kept]
                together = _joined([caches[n] for n in rows], model.config)
            elif len(kept) < len(rows):
                together.batch_select_indices(torch.tensor(kept, device=device))
                rows = [rows[at] for at in kept]
            held = together.get_seq_length()
            own = torch.tensor([len(prompts[n]) + len(ids[n]) - 1 for n in rows], device=device)
            seen = torch.arange(held + 1, device=device) >= (held - own)[:, None]
            logits = model(
                input_ids=torch.tensor([ids[n][-1:] for n in rows], device=device),
                attention_mask=seen.long(),
                position_ids=own[:, None],
                past_key_values=together,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
    return [(Decoded(i, e, s), cache) for i, e, s, cache in zip(ids, entropy, stop, caches, strict=True)]


def _joined(caches: Sequence[Any], config: Any) -> Any:
    """One cache whose rows are `caches`, padded with zeros on the left."""
    import torch
    from transformers import DynamicCache

    longest = max(cache.get_seq_length() for cache in caches)
    joined = DynamicCache(config=config)
    for number in range(len(caches[0].layers)):
        layers = [cache.layers[number] for cache in caches]

        def padded(states: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(states, (0, 0, longest - states.shape[-2], 0))

        joined.update(
            torch.cat([padded(layer.keys) for layer in layers]),
            torch.cat([padded(layer.values) for layer in layers]),
            number,
        )
    return joined

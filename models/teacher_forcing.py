"""A text that was written elsewhere, read in one pass: what decoding it here would have measured (Eq. 1-3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from webrec.models.decoding import Decoded
from webrec.models.influence import watched_pass
from webrec.models.text_in_progress import StopReason, entropy_of, refuse_nan, repeats_itself
from webrec.models.turns import turns_of

if TYPE_CHECKING:
    import torch

    from webrec.models.backbone import Backbone
    from webrec.models.decode_step import Watched

_LOGIT_ROWS = 64


@dataclass(frozen=True)
class Forced:
    """The text as if the backbone had written it, and the share of its tokens that it would have written there (greedily)."""

    decoded: Decoded
    agreement: float | None


def cut_text(ids: Sequence[int], limit: int, end_ids: frozenset[int], stop: StopReason) -> tuple[list[int], StopReason]:
    """`ids` up to where our own decoder would have stopped: an end token, a repetition, `limit` tokens; else `stop`."""
    for place, token in enumerate(ids[:limit]):
        if token in end_ids:
            return list(ids[:place]), "end"
        if repeats_itself(ids[: place + 1]):
            return list(ids[: place + 1]), "repetition"
    return list(ids[:limit]), stop if len(ids) < limit else "limit"


def read_text(
    backbone: Backbone, prompt: Sequence[int], ids: Sequence[int], stop: StopReason, watched: Watched | None
) -> Forced:
    """The entropy of the distribution that produces each of `ids` after `prompt`, and, with `watched`, their influence.

    One pass over prompt and text in all; `influence` of the same layer and heads then has nothing to compute. Beside what the pass
    itself takes it holds one layer's keys, the watched attention of the text's rows (128 at a time), and the logits of 64 rows.
    """
    import torch

    if not ids:
        return Forced(Decoded([], [], stop), None)
    model, tokens = backbone.model, [*prompt, *ids]
    with turns_of(backbone.device).take(), torch.inference_mode():
        if watched is None:
            batch = torch.tensor([tokens], device=backbone.device)
            hidden = model.model(input_ids=batch, use_cache=False).last_hidden_state[0]
        else:
            watched = (watched[0] % len(model.model.layers), watched[1])
            hidden, measured = watched_pass(backbone, tokens, len(ids), *watched)
            backbone.recent.put(tokens, len(ids), watched, measured)
        entropy, greedy = _what_follows(backbone, hidden[len(prompt) - 1 : -1])
    same = sum(a == b for a, b in zip(ids, greedy, strict=True))
    return Forced(Decoded(list(ids), entropy, stop), same / len(ids))


def _what_follows(backbone: Backbone, hidden: torch.Tensor) -> tuple[list[float], list[int]]:
    """Entropy (nats) and likeliest token of the distribution after each of `hidden`, shape (rows, width)."""
    entropy: list[float] = []
    greedy: list[int] = []
    for begin in range(0, len(hidden), _LOGIT_ROWS):
        rows = hidden[begin : begin + _LOGIT_ROWS]
        logits = backbone.model.lm_head(rows)
        entropy += entropy_of(logits).tolist()
        greedy += logits.argmax(-1).tolist()
    refuse_nan(entropy)
    return entropy, greedy

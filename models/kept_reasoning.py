"""Reasoning kept by content: the same model, prompt and limit give the same text, entropy and influence without computing.

Exact: what comes back is to the bit what was computed when it was kept.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from webrec.models.content_store import ContentStore, content_key
from webrec.models.decoding import Decoded, decode_together
from webrec.models.teacher_forcing import Forced, read_text
from webrec.models.weights_digest import model_digest

if TYPE_CHECKING:
    from webrec.models.backbone import Backbone
    from webrec.models.decode_step import Watched
    from webrec.models.text_in_progress import StopReason

FORMAT = "2"
"""To be raised when decoding, or what is kept of it, changes."""


def decode_kept(
    store: ContentStore | None,
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    limit: int,
    *,
    watched: Watched | None = None,
    on_token: Callable[[int], None] = lambda _: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> list[Decoded]:
    """`decode_together`, of those that `store` does not hold; without a store, of all."""
    if store is None:
        return decode_together(backbone, prompts, limit, watched=watched, on_token=on_token, cancelled=cancelled)
    watched = _from_zero(backbone, watched)
    keys = [_key("decode", backbone, watched, prompt, [limit]) for prompt in prompts]
    found = {key: json.loads(value) for key, value in store.get(keys).items()}
    for prompt, key in zip(prompts, keys, strict=True):
        if key in found:
            _restore(backbone, prompt, found[key], watched)
            for token in found[key]["ids"]:
                on_token(token)
    missing = [(prompt, key) for prompt, key in zip(prompts, keys, strict=True) if key not in found]
    if missing:
        asked = [prompt for prompt, _ in missing]
        written = decode_together(backbone, asked, limit, watched=watched, on_token=on_token, cancelled=cancelled)
        new = {
            key: _value(backbone, prompt, decoded, None, watched)
            for (prompt, key), decoded in zip(missing, written, strict=True)
        }
        store.put({key: json.dumps(value).encode() for key, value in new.items()})
        found |= new
    return [Decoded(found[key]["ids"], found[key]["entropy"], found[key]["stop"]) for key in keys]


def read_kept(
    store: ContentStore | None,
    backbone: Backbone,
    prompt: Sequence[int],
    ids: Sequence[int],
    stop: StopReason,
    watched: Watched | None,
) -> Forced:
    """`read_text`, unless `store` holds it. The text itself is an external decoder's, and asked for each time."""
    if store is None or not ids:
        return read_text(backbone, prompt, ids, stop, watched)
    watched = _from_zero(backbone, watched)
    key = _key("read", backbone, watched, prompt, ids)
    if (held := store.get([key]).get(key)) is not None:
        value = json.loads(held)
        _restore(backbone, prompt, value, watched)
        return Forced(Decoded(value["ids"], value["entropy"], stop), value["agreement"])
    forced = read_text(backbone, prompt, ids, stop, watched)
    value = _value(backbone, prompt, forced.decoded, forced.agreement, watched)
    store.put({key: json.dumps(value).encode()})
    return forced


def _from_zero(backbone: Backbone, watched: Watched | None) -> Watched | None:
    return None if watched is None else (watched[0] % len(backbone.model.model.layers), watched[1])


def _key(kind: str, backbone: Backbone, watched: Watched | None, prompt: Sequence[int], rest: Sequence[int]) -> bytes:
    """All that determines the result; the libraries and the kind of device round differently."""
    import torch
    import transformers

    made_by = (FORMAT, kind, torch.__version__, transformers.__version__, backbone.device.type)
    ends = sorted(backbone.chat.end_ids)
    tokens = [array("q", ids).tobytes() for ids in (ends, prompt, rest)]
    return content_key(*made_by, model_digest(backbone.model), json.dumps(watched), *tokens)


def _value(
    backbone: Backbone, prompt: Sequence[int], decoded: Decoded, agreement: float | None, watched: Watched | None
) -> dict[str, Any]:
    """What is kept, as JSON, whose numbers keep every bit."""
    influence = None
    if watched is not None:
        influence = backbone.recent.get((*prompt, *decoded.ids), len(decoded.ids), watched)
    value = {"ids": decoded.ids, "entropy": decoded.entropy, "stop": decoded.stop}
    return value | {"influence": influence, "agreement": agreement}


def _restore(backbone: Backbone, prompt: Sequence[int], value: dict[str, Any], watched: Watched | None) -> None:
    """So that `influence` has nothing to compute."""
    if watched is not None and value["influence"] is not None:
        backbone.recent.put((*prompt, *value["ids"]), len(value["ids"]), watched, value["influence"])

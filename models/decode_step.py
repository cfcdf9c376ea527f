"""One decoding step of a LLaMA, written out: a few tokens a row over key/value caches of fixed size.

A small model's decoding is bound by what happens around the arithmetic. Against the modules of transformers this saves: attention by
two batched products instead of the fused kernel, which is slow for one query on CPUs; a cache written in place; projections that
read the same input joined into one; half of the operations of norms, rotation and mask; and, on CPUs, weights kept a second time in
oneDNN's own blocked layout.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence, Set
from functools import partial
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

PACKED_BYTES = 2**31
"""A model of more bytes than this is not kept a second time in the blocked layout."""

BLOCK = 64
"""Columns of the caches that are read or left out together."""

_steps: WeakKeyDictionary[LlamaForCausalLM, DecodeStep] = WeakKeyDictionary()
_lock = threading.Lock()


Watched = tuple[int, Literal["mean", "max"]]
"""A layer, from 0, and how its heads are joined."""

_Product = Callable[["torch.Tensor"], "torch.Tensor"]
"""Inputs of shape (…, inputs) to outputs of shape (…, outputs)."""

_Row = tuple[int, Callable[[int], tuple[Any, Any]]]
"""Length of a row, and its keys (turned) and values of a layer."""


class StepCache:
    """Keys and values of several rows in columns that all rows share; every row ends in the same column.

    Shape of a layer's values: (rows, key/value heads, columns, width); its keys lie the other way round, (…, width, columns), as the
    product with a few queries wants them. `held`: columns in use; `first`: each row's first one.
    """

    def __init__(self, caches: Sequence[Any], room: int, *, beside: StepCache | None = None) -> None:
        """The rows of `beside`, then one for each filled `DynamicCache`; `room` for so many more columns.

        `beside` is used up: each of its layers is freed once its rows are copied, or both would be held at once.
        """
        import torch

        rows = ([] if beside is None else beside._rows()) + [_row(cache) for cache in caches]
        self.held = max(length for length, _ in rows)
        columns = _rounded_up(self.held + room)
        self.keys: list[torch.Tensor] = []
        self.values: list[torch.Tensor] = []
        for number in range(len(caches[0].layers if beside is None else beside.values)):
            parts = [part(number) for _, part in rows]
            heads, width = parts[0][0].shape[:2]
            keys = parts[0][0].new_zeros(len(rows), heads, width, columns)
            values = parts[0][1].new_zeros(len(rows), heads, columns, width)
            for row, (key, value) in enumerate(parts):
                keys[row, :, :, self.held - key.shape[2] : self.held] = key
                values[row, :, self.held - key.shape[2] : self.held] = value
            self.keys.append(keys)
            self.values.append(values)
            if beside is not None:
                del parts, key, value  # which look into the layer that is freed
                beside.keys[number] = beside.values[number] = keys.new_empty(0)
        self.first = torch.tensor([self.held - length for length, _ in rows], device=self.keys[0].device)

    def _rows(self) -> list[_Row]:
        def row(number: int, first: int) -> _Row:
            def part(layer: int) -> tuple[torch.Tensor, torch.Tensor]:
                return self.keys[layer][number][..., first : self.held], self.values[layer][number][
                    :, first : self.held
                ]

            return self.held - first, part

        return [row(number, first) for number, first in enumerate(self.first.tolist())]

    @property
    def nbytes(self) -> int:
        """What all layers take."""
        return sum(tensor.nbytes for tensor in (*self.keys, *self.values))

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        import torch

        chosen = torch.tensor(rows, dtype=torch.long, device=self.first.device)
        self.first = self.first[chosen]
        # Layer by layer, so that the old ones are not all held beside the new ones.
        for number in range(len(self.keys)):
            self.keys[number] = self.keys[number][chosen]
            self.values[number] = self.values[number][chosen]


def _row(cache: Any) -> _Row:
    return cache.get_seq_length(), lambda layer: (cache.layers[layer].keys[0].mT, cache.layers[layer].values[0])


class DecodeStep:
    """The weights of a LLaMA as a decoding step uses them; holds no state of any text, so threads may share it."""

    def __init__(self, model: LlamaForCausalLM, product: Callable[[list[Any]], _Product] | None = None) -> None:
        """`product`: what computes the outputs of some projections that read the same input, side by side; unset: `model` itself."""
        config: Any = model.config
        if product is None:
            product = partial(_joined, packed=_can_pack(model))
        self._embed: Any = model.model.embed_tokens
        self._rotary: Any = model.model.rotary_emb
        self._norm: Any = model.model.norm
        self._head = product([model.lm_head])
        self._layers = [_Layer(layer, product) for layer in model.model.layers]
        self._kv_heads = int(config.num_key_value_heads)
        self._groups = int(config.num_attention_heads) // self._kv_heads

    def __call__(
        self, ids: torch.Tensor, cache: StepCache, watched: Set[Watched] = frozenset()
    ) -> tuple[torch.Tensor, dict[Watched, torch.Tensor]]:
        """Logits after each of `ids`, shape (rows, tokens, vocabulary); their keys and values are added to `cache`.

        And what each of `watched` attends to (Eq. 1): shape (rows, tokens, columns), the last column that of the last token.
        Columns are read in whole blocks: oneDNN compiles a product for every shape that it meets, and keeps it.
        """
        import torch

        rows, tokens = ids.shape
        held, end = cache.held, cache.held + tokens
        read = slice(int(cache.first.min()) // BLOCK * BLOCK, _rounded_up(end))
        columns = torch.arange(read.start, read.stop, device=ids.device)
        own = torch.arange(held, end, device=ids.device)
        hidden = self._embed(ids)
        cos, sin = self._rotary(hidden, own[None] - cache.first[:, None])
        low, high = sin[:, :, None].chunk(2, -1)
        cos, sin = cos[:, :, None], torch.cat([-low, high], -1)
        seen = (columns[None, None] <= own[None, :, None]) & (columns[None, None] >= cache.first[:, None, None])
        # As scores are: (rows · key/value heads, groups · tokens, columns).
        mask = hidden.new_zeros(seen.shape).masked_fill_(~seen, -torch.inf)[:, None, None]
        mask = mask.expand(-1, self._kv_heads, self._groups, -1, -1).reshape(-1, self._groups * tokens, len(columns))
        seen_by: dict[Watched, torch.Tensor] = {}
        for number, (layer, keys, values) in enumerate(zip(self._layers, cache.keys, cache.values, strict=True)):
            query = layer.query(hidden, cos, sin, keys[..., held:end], values[:, :, held:end])
            query = query.view(rows, tokens, self._kv_heads, self._groups, -1).permute(0, 2, 3, 1, 4)
            query = query.reshape(rows * self._kv_heads, self._groups * tokens, -1)
            keys, shown = keys.flatten(0, 1)[..., read], mask
            joins = {join for watching, join in watched if watching == number}
            if joins:  # the one layer whose attention is a result
                exact = torch.promote_types(query.dtype, torch.float32)
                query, keys, shown = query.to(exact), keys.to(exact), shown.to(exact)
            weights = torch.baddbmm(shown, query, keys, alpha=layer.scaling).softmax(-1)
            for join in joins:
                by_head = weights.view(rows, self._kv_heads * self._groups, tokens, -1)
                seen_by[number, join] = (by_head.mean(1) if join == "mean" else by_head.amax(1))[
                    ..., : end - read.start
                ]
            weights = weights.to(values.dtype)
            mixed = torch.bmm(weights, values.flatten(0, 1)[:, read])
            mixed = mixed.view(rows, self._kv_heads, self._groups, tokens, -1).permute(0, 3, 1, 2, 4)
            hidden = layer.finish(hidden, mixed.reshape(rows, tokens, -1))
        cache.held = end
        return self._head(self._norm(hidden)), seen_by


class _Layer:
    """One decoder layer, in two parts: what attention needs, and what follows it."""

    def __init__(self, layer: Any, product: Callable[[list[Any]], _Product]) -> None:
        from torch import nn
        from torch.nn.functional import silu

        from webrec.models.few_rows_norm import few_rows_norm

        attention, mlp = layer.self_attn, layer.mlp
        self.scaling = float(attention.scaling)
        self._before, self._after = map(few_rows_norm, (layer.input_layernorm, layer.post_attention_layernorm))
        self._read = product([attention.q_proj, attention.k_proj, attention.v_proj])
        self._output = product([attention.o_proj])
        self._gate_up = product([mlp.gate_proj, mlp.up_proj])
        self._down = product([mlp.down_proj])
        self._act = silu if type(mlp.act_fn) is nn.SiLU else mlp.act_fn
        self._width = int(attention.head_dim)

    def query(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> torch.Tensor:
        """Rotated queries, shape (rows, tokens, heads, width); `keys` and `values` are filled in. `sin`: of the first half negative."""
        import torch

        rows, tokens = hidden.shape[:2]
        kv = keys.shape[1]
        read = self._read(self._before(hidden)).view(rows, tokens, -1, self._width)
        turned, value = read[:, :, :-kv], read[:, :, -kv:]
        turned = torch.addcmul(turned * cos, turned.roll(self._width // 2, -1), sin)
        keys.copy_(turned[:, :, -kv:].permute(0, 2, 3, 1))
        values.copy_(value.transpose(1, 2))
        return turned[:, :, :-kv]

    def finish(self, hidden: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """The layer's output, given what attention read."""
        hidden = hidden + self._output(read)
        gate, up = self._gate_up(self._after(hidden)).chunk(2, -1)
        return hidden + self._down(self._act(gate) * up)


def step_of(model: LlamaForCausalLM) -> DecodeStep:
    """The decoding step of `model`, made on first use and gone with it."""
    with _lock:
        if model not in _steps:
            _steps[model] = DecodeStep(model)
        return _steps[model]


def _joined(modules: list[Any], packed: bool) -> _Product:
    """All of `modules`' outputs side by side. Plain linear ones, in 8 bits or not, become one packed product; others are called as they are."""
    import torch

    from webrec.models import int8_in_float
    from webrec.models.few_rows import FewRows
    from webrec.models.int8 import Int8Linear
    from webrec.models.int8_few_rows import Int8FewRows, Int8FewRowsInFloat, is_fast
    from webrec.models.onednn_linear import is_plain

    if all(type(module) is Int8Linear for module in modules):
        if packed and is_fast():
            return Int8FewRows(modules)
        if packed and int8_in_float.is_needed():
            return Int8FewRowsInFloat(modules)
        return modules[0] if len(modules) == 1 else Int8Linear.joined(modules)
    if packed and all(is_plain(module) for module in modules):
        weights = [module.weight.detach() for module in modules]
        weight = weights[0] if len(weights) == 1 else torch.cat(weights)
        biases = [module.bias for module in modules]
        bias = None if biases[0] is None else torch.cat([b.detach() for b in biases])
        return FewRows(weight, bias)
    if len(modules) == 1:
        only: _Product = modules[0]
        return only
    return lambda inputs: torch.cat([module(inputs) for module in modules], -1)


def _rounded_up(columns: int) -> int:
    return -(-columns // BLOCK) * BLOCK


def _can_pack(model: LlamaForCausalLM) -> bool:
    """Whether a second copy of the weights, for few rows, can be made and is not too large."""
    import torch

    from webrec.models import int8_in_float
    from webrec.models.onednn_linear import can_block

    widened = {torch.int8: 4} if int8_in_float.is_needed() else {}
    size = sum(p.numel() * widened.get(p.dtype, p.element_size()) for p in model.parameters())
    return model.device.type == "cpu" and size <= PACKED_BYTES and can_block(model.dtype)

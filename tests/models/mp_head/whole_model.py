"""A LLaMA's forward pass by hand, with the reference heads added: no hooks, no cache, dense attention, float64.

The model's own norms are called: they round to float32 inside, whatever the model's format.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import LlamaForCausalLM

from webrec.models.mp_head.config import MPHeadConfig

from .reference import run_reference

Heads = Mapping[int, tuple[MPHeadConfig, Mapping[str, Tensor], Tensor]]  # layer -> config, state dict, z


def reference_logits(
    llama: LlamaForCausalLM, embeds: Tensor, node_mask: list[bool], heads: Heads, positions: list[int] | None = None
) -> Tensor:
    """(T, vocabulary) of one row of (T, hidden) embeddings without padding, at `positions` (0, 1, … if not given)."""
    config = llama.config
    d, heads_q, heads_kv = config.head_dim, config.num_attention_heads, config.num_key_value_heads
    x = embeds.double()
    length = x.shape[0]
    places = torch.tensor([positions or list(range(length))])
    cos, sin = (turn[0].double() for turn in llama.model.rotary_emb(x[None], places))
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    for index, layer in enumerate(llama.model.layers):
        attention = layer.self_attn
        y = layer.input_layernorm(x)
        q = apply(attention.q_proj, y).view(length, heads_q, d)
        k = apply(attention.k_proj, y).view(length, heads_kv, d)
        v = apply(attention.v_proj, y).view(length, heads_kv, d)
        turned_q, turned_k = rotate(q, cos, sin), rotate(k, cos, sin)
        mixed = torch.empty(length, heads_q, d, dtype=torch.float64)
        for h in range(heads_q):
            group = h // (heads_q // heads_kv)
            scores = turned_q[:, h] @ turned_k[:, group].T / sqrt(d)
            mixed[:, h] = scores.masked_fill(~causal, -torch.inf).softmax(-1) @ v[:, group]
        out = apply(attention.o_proj, mixed.reshape(length, -1))
        if index in heads:
            head, weights, z = heads[index]
            q_head, k_head = (turned_q, turned_k) if head.rotary else (q, k)
            qkv = (q_head.mean(1), k_head.reshape(length, -1), v.reshape(length, -1))
            out = out + torch.from_numpy(run_reference(head, weights, z, qkv, node_mask).output)
        x = x + out
        y = layer.post_attention_layernorm(x)
        gate = torch.nn.functional.silu(apply(layer.mlp.gate_proj, y))
        x = x + apply(layer.mlp.down_proj, gate * apply(layer.mlp.up_proj, y))
    return linear(llama.model.norm(x), llama.lm_head.weight.double()).detach()


def apply(projection: torch.nn.Module, x: Tensor) -> Tensor:
    """The projection, with its LoRA if it has one: `W x + (alpha / r) B A x`."""
    lora_a = getattr(projection, "lora_A", None)
    base = projection.base_layer if lora_a is not None else projection
    y = linear(x, base.weight.detach().double())
    if lora_a is not None and len(lora_a):
        a, b = (part["default"].weight.detach().double() for part in (lora_a, projection.lora_B))
        y = y + projection.scaling["default"] * linear(linear(x, a), b)
    return y


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(T, heads, d): halves rotated, as LLaMA does."""
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * cos[:, None] + turned * sin[:, None]

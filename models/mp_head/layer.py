"""The head of one layer: entities of the prompt, their relevance, what passes between them, and how tokens read them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from webrec.errors import ConfigurationError
from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.messages import make_messages
from webrec.models.mp_head.standardise import Standardise
from webrec.models.mp_head.task import TaskFeature

MIN_NORM = 1e-8


@dataclass(frozen=True)
class Nodes:
    """What a prompt leaves behind: states (batch, k, 2d), keys first, and which of them count (batch, k)."""

    states: Tensor
    kept: Tensor


class HeadLayer(nn.Module):
    """Eq. 10-16 for one decoder layer. Parameters are float32 (or wider), and so is all arithmetic.

    The gate starts at 0 and the output projection does not: with both at 0 no gradient would ever flow.
    """

    def __init__(self, config: MPHeadConfig, shape: HeadShape, task: TaskFeature) -> None:
        super().__init__()
        self.config, self.shape = config, shape
        self.task = task
        width = 2 * shape.kv_heads * shape.head_dim
        self.given = Standardise(width) if config.standardise else None
        self.asked = Standardise(shape.head_dim) if config.standardise else None
        self.entity = nn.Linear(width, shape.entity)  # W_e, b_e
        self.relevance = nn.Linear(shape.hidden, shape.entity) if config.selects else None  # W_r, b_r
        self.messages = make_messages(config, shape)
        self.output = nn.Linear(shape.head_dim, shape.hidden, bias=False)  # W_o
        self.gate = nn.Parameter(torch.zeros(()))
        only_selects = config.kind == "linear" or (config.kind == "pairwise" and config.mixing != "softmax")
        if self.relevance is not None and only_selects:
            self.relevance.requires_grad_(False)  # selecting has no gradient

    @property
    def dtype(self) -> torch.dtype:
        """Format of the arithmetic: float32 at least."""
        return torch.promote_types(self.entity.weight.dtype, torch.float32)

    def direction(self) -> Tensor | None:
        """`u = W_r z + b_r` (Eq. 11), shape (2d,); None where nothing is selected."""
        if self.relevance is None:
            return None
        z = self.task()
        if self.config.task_feature == "zero":
            z = torch.zeros_like(z)
        weight, bias = self.relevance.weight.to(self.dtype), self.relevance.bias.to(self.dtype)
        return F.linear(z.to(weight), weight, bias)

    def entities(self, key: Tensor, value: Tensor) -> Tensor:
        """Eq. 10: `e = W_e [K ; V] + b_e`, from keys and values of all heads, each (batch, N, heads·d)."""
        with torch.autocast(key.device.type, enabled=False):
            given = torch.cat([key, value], -1).to(self.dtype)
            return self.messages.entities(self.entity(given if self.given is None else self.given(given)))

    def cosine(self, entities: Tensor, direction: Tensor | None = None) -> Tensor:
        """Eq. 11: `c = cos(u, e)`, shape (batch, N), each norm at least 1e-8; zeros where nothing is selected."""
        u = self.direction() if direction is None else direction
        if u is None:
            return entities.new_zeros(entities.shape[:-1])
        length = torch.linalg.vector_norm(entities, dim=-1).clamp_min(MIN_NORM)
        # Not a matrix product: that may round equal rows differently, and repeated tokens must tie.
        cosine: Tensor = (entities * u).sum(-1) / (length * torch.linalg.vector_norm(u).clamp_min(MIN_NORM))
        return cosine

    def keep(self, cosine: Tensor, node_mask: Tensor) -> tuple[Tensor, Tensor]:
        """T_k (Eq. 12): positions (batch, k') of the nodes with the highest c, k' = min(k, N), and which are nodes.

        Ties go to the lower index; where a row has fewer nodes than k', the rest of its positions are marked False.
        """
        limit = node_mask.shape[-1] if self.config.top_k is None else min(self.config.top_k, node_mask.shape[-1])
        # To a grid of 64 roundings: matrix products may give equal tokens relevances that differ in the last digits.
        cosine = (cosine.detach() / (64 * torch.finfo(cosine.dtype).eps)).round()
        ranked, order = cosine.masked_fill(~node_mask, -torch.inf).sort(dim=-1, descending=True, stable=True)
        return order[:, :limit], ranked[:, :limit] > -torch.inf

    def nodes(self, key: Tensor, value: Tensor, node_mask: Tensor) -> Nodes:
        """States of the kept nodes of a prompt, from its keys and values (batch, N, heads·d) and mask (batch, N).

        Raises `ConfigurationError` in training where `standardise` has nothing measured to go by.
        """
        if self.training and self.given is not None and not self.given.measured:
            raise ConfigurationError(
                "standardise: keys, values and queries were not measured; call measure() of the head before training"
            )
        with torch.autocast(key.device.type, enabled=False):
            entities, direction = self.entities(key, value), self.direction()
            if direction is None:  # every node is kept, in place
                states = self.messages(entities, entities.new_zeros(entities.shape[:-1]), node_mask, None)
                return Nodes(states, node_mask)
            cosine = self.cosine(entities, direction)
            index, kept = self.keep(cosine, node_mask)
            entities = entities.gather(1, index[..., None].expand(-1, -1, entities.shape[-1]))
            return Nodes(self.messages(entities, cosine.gather(1, index), kept, direction), kept)

    def read(self, query: Tensor, nodes: Nodes) -> Tensor:
        """Eq. 14, 16 and the gate: `g · W_o softmax_i(Q·e_i[:d]/√d) e_i[d:]`, shape (batch, T, hidden).

        `query` is the mean over query heads, shape (batch, T, d). A prompt without a node gives 0.
        """
        with torch.autocast(query.device.type, enabled=False):
            keys, values = nodes.states.chunk(2, -1)
            query = query.to(keys.dtype)
            if self.asked is not None:
                query = self.asked(query)
            some = nodes.kept.any(-1)[:, None, None]
            mask = (nodes.kept[:, None] | ~some)[:, None]  # (B, 1, 1, k); no row without an entry: it would be NaN
            read = F.scaled_dot_product_attention(query[:, None], keys[:, None], values[:, None], attn_mask=mask)[:, 0]
            output: Tensor = self.gate * self.output(torch.where(some, read, 0.0))
            return output

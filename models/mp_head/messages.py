"""What passes between kept entities: the three kinds of head, each a map from (e, c) to new entities.

Shapes: entities e (batch, k, 2d), relevances c (batch, k), kept (batch, k) bool, direction u (2d,).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.task import NORM_EPS

ZERO_RELEVANCE = 1e-6


class Messages(Protocol):
    """One kind of head."""

    def entities(self, raw: Tensor) -> Tensor:
        """Entities as relevance and messages see them, from `W_e [K ; V] + b_e`."""
        ...

    def __call__(self, entities: Tensor, relevance: Tensor, kept: Tensor, direction: Tensor | None) -> Tensor:
        """New entities, shape (batch, k, 2d). Rows that are not kept hold anything finite."""
        ...


def make_messages(config: MPHeadConfig, shape: HeadShape) -> LiteralMessages | LinearMessages | PairwiseMessages:
    """The messages of `config.kind`."""
    kinds = {"literal": LiteralMessages, "linear": LinearMessages, "pairwise": PairwiseMessages}
    made = kinds[config.kind](config, shape)
    assert isinstance(made, LiteralMessages | LinearMessages | PairwiseMessages)
    return made


class _Hops(nn.Module):
    def __init__(self, config: MPHeadConfig, shape: HeadShape) -> None:
        super().__init__()
        self.config = config
        self.hops = nn.ModuleList(nn.Linear(shape.entity, shape.entity) for _ in range(config.hops))

    def entities(self, raw: Tensor) -> Tensor:
        """As they are."""
        return raw

    def projections(self) -> list[tuple[Tensor, Tensor]]:
        """W_m and b_m of every hop."""
        return [(hop.weight, hop.bias) for hop in self.hops if isinstance(hop, nn.Linear)]


class LinearMessages(_Hops):
    """LIN-Head (Fig. 5): `e_i ← W_m e_i + b_m` per hop, no relation."""

    def forward(self, entities: Tensor, relevance: Tensor, kept: Tensor, direction: Tensor | None) -> Tensor:
        """See `Messages`."""
        for weight, bias in self.projections():
            entities = F.linear(entities, weight, bias)
        return entities


class LiteralMessages(_Hops):
    """Eq. 12, 13, 15, exactly, in O(k·d): within a group of entities of one sign, `r_ij = |c_i||c_j|` factorises.

    With self loops `m_i = √|c_i| · W_m Σ_j √|c_j| e_j / S + b_m`, S the group's sum of |c|. Without,
    `m_i = a_i Σ_{j≠i} a_j W_m e_j + b_m` with `a_i = √(|c_i| / (S − |c_i|))`.
    """

    def forward(self, entities: Tensor, relevance: Tensor, kept: Tensor, direction: Tensor | None) -> Tensor:
        """See `Messages`. c and T_k are those of the first entities at every hop."""
        size = relevance.abs()
        active = kept & (size >= ZERO_RELEVANCE)  # the others have no edge: m_i = b_m, no gradient through the root
        size = torch.where(active, size, 1.0)
        groups = torch.stack([active & (relevance > 0), active & (relevance < 0)], 1).to(size.dtype)  # (B, 2, k)
        sizes = groups * size[:, None]
        if self.config.self_loops:
            root = groups * size.sqrt()[:, None]
            total = sizes.sum(-1, keepdim=True)
            collect = root / torch.where(total > 0, total, 1.0)
            for weight, bias in self.projections():
                entities = root.mT @ F.linear(collect @ entities, weight) + bias  # the summaries are (B, 2, 2d)
            return entities
        others = _sum_of_others(sizes)
        linked = (sizes > 0) & (others > 0)  # an entity alone in its group has no edge
        ratio = torch.where(linked, size[:, None] / torch.where(linked, others, 1.0), 1.0)
        share = torch.where(linked, ratio.sqrt(), 0.0)[..., None]  # a_i, (B, 2, k, 1)
        for weight, bias in self.projections():
            sent = share * F.linear(entities, weight)[:, None]  # (B, 2, k, 2d)
            entities = (share * _sum_of_others(sent, dim=2)).sum(1) + bias
        return entities


def _sum_of_others(x: Tensor, dim: int = -1) -> Tensor:
    """Σ_{j≠i} x_j along `dim`, from sums before and after i: subtracting x_i from the whole would cancel digits."""
    zero = torch.zeros_like(x.narrow(dim, 0, 1))
    last = x.shape[dim] - 1
    before = torch.cat([zero, x.narrow(dim, 0, last)], dim).cumsum(dim)
    after = torch.cat([x.narrow(dim, 1, last), zero], dim).flip(dim).cumsum(dim).flip(dim)
    return before + after


class PairwiseMessages(_Hops):
    """Every two kept entities relate by their own content, seen through the task (ours; O(k²·d) a hop).

    `P = softmax_j(a_i·b_j/√(d/2) + β c_j)` with `a = W_a(τ⊙e⁰)`, `b = W_b(τ⊙e⁰)`, `τ = √(2d)·u/‖u‖`;
    `e^h = e^{h−1} + W_m^h Σ_j P_ij RMSNorm(e^{h−1}_j) + b_m^h`; `E = Σ_h α_h e^h`, `α = softmax(a)`.
    """

    def __init__(self, config: MPHeadConfig, shape: HeadShape) -> None:
        super().__init__(config, shape)
        width = shape.entity
        self.source = nn.Linear(width, shape.head_dim // 2, bias=False)
        self.target = nn.Linear(width, shape.head_dim // 2, bias=False)
        for projection in (self.source, self.target):
            nn.init.normal_(projection.weight, std=width**-0.5)
        self.beta = nn.Parameter(torch.tensor(float(config.relevance_bias)), requires_grad=config.relevance_bias)
        self.depth = nn.Parameter(torch.zeros(config.hops + 1), requires_grad=config.learned_depth)
        if config.mixing != "softmax":  # then nothing reads them
            for unused in (self.source.weight, self.target.weight, self.beta):
                unused.requires_grad_(False)

    def entities(self, raw: Tensor) -> Tensor:
        """e⁰: RMS-normalised, without a learned scale."""
        return F.rms_norm(raw, raw.shape[-1:], eps=NORM_EPS)

    def forward(self, entities: Tensor, relevance: Tensor, kept: Tensor, direction: Tensor | None) -> Tensor:
        """See `Messages`."""
        mix = self._mixing(entities, relevance, kept, direction)
        share = self.depth.softmax(0)
        joined = share[0] * entities
        for number, (weight, bias) in enumerate(self.projections(), 1):
            normed = F.rms_norm(entities, entities.shape[-1:], eps=NORM_EPS)
            entities = entities + F.linear(normed if mix is None else mix @ normed, weight, bias)
            joined = joined + share[number] * entities
        return joined

    def _mixing(self, entities: Tensor, relevance: Tensor, kept: Tensor, direction: Tensor | None) -> Tensor | None:
        """P, shape (batch, k, k); None is the identity."""
        if self.config.mixing == "identity":
            return None
        if self.config.mixing == "uniform":
            scores = torch.zeros_like(relevance)[:, None].expand(-1, relevance.shape[1], -1)
        else:
            scaled = entities
            if self.config.task_scale and direction is not None:
                length = torch.linalg.vector_norm(direction).clamp_min(1e-8)
                scaled = entities * (direction * (direction.shape[0] ** 0.5 / length))
            source, target = self.source(scaled), self.target(scaled)
            scores = source @ target.mT / source.shape[-1] ** 0.5 + self.beta * relevance[:, None]
        # The least number rather than -inf: a prompt without a node stays finite.
        return scores.masked_fill(~kept[:, None], torch.finfo(scores.dtype).min).softmax(-1)

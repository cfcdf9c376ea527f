"""Prompt and candidates of several examples as one batch: for passes that need gradients, and for GPUs.

Each example is one row: soft prompt, prompt, then every candidate less its last token, each restarting at the position
after the prompt and seeing the prompt and itself only. So a row costs one pass and scores as one pass a candidate would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

    from webrec.models.adapter import AdaptedLlama


@dataclass(frozen=True)
class EncodedExample:
    """Token ids of one user's prompt and candidates (none empty), and which candidate was taken.

    `anyones`: each candidate's log-likelihood for a user of whom nothing is known, in nats; only pmi needs it.
    """

    key: str
    prompt: Sequence[int]
    candidates: Sequence[Sequence[int]]
    target: int
    anyones: Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not self.prompt or not self.candidates or any(not c for c in self.candidates):
            raise ValueError(f"example {self.key}: prompt and candidates need at least one token each")
        if not 0 <= self.target < len(self.candidates):
            raise ValueError(
                f"example {self.key}: target {self.target} is not one of {len(self.candidates)} candidates"
            )
        if self.anyones is not None and len(self.anyones) != len(self.candidates):
            raise ValueError(f"example {self.key}: anyones has {len(self.anyones)} values, not one for each candidate")


@dataclass(frozen=True)
class PackedBatch:
    """B rows of T positions, `virtual` of them the soft prompt's; C candidates in all, example by example.

    Candidate token number i is predicted by `rows[predicted_by[i]]` (a flat position of B·T), is `tokens[i]`, and
    belongs to candidate `owner[i]`.
    """

    input_ids: torch.Tensor  # (B, T - virtual)
    positions: torch.Tensor  # (B, T)
    visible: torch.Tensor  # (B, T, T): which positions (last axis) each sees
    nodes: torch.Tensor  # (B, T): prompt tokens
    rows: torch.Tensor
    predicted_by: torch.Tensor
    tokens: torch.Tensor
    owner: torch.Tensor
    lengths: torch.Tensor  # (C,): tokens of each candidate
    anyones: torch.Tensor | None  # (C,) float32, where every example has them
    counts: list[int]  # candidates of each example
    targets: list[int]  # the taken one's place among them

    @property
    def size(self) -> int:
        """Positions that are computed, padding included."""
        return self.positions.numel()


def pack(
    examples: Sequence[EncodedExample],
    virtual: int = 0,
    device: torch.device | str = "cpu",
    *,
    only_target: bool = False,
) -> PackedBatch:
    """The batch of `examples`, padded on the right; `only_target` leaves the other candidates out."""
    import torch

    chosen = [[e.candidates[e.target]] if only_target else e.candidates for e in examples]
    length = max(len(e.prompt) + sum(len(c) - 1 for c in cs) for e, cs in zip(examples, chosen, strict=True))
    total = virtual + length
    ids = torch.zeros(len(examples), length, dtype=torch.long)
    positions = torch.zeros(len(examples), total, dtype=torch.long)
    visible = torch.eye(total, dtype=torch.bool).repeat(len(examples), 1, 1)  # padding sees itself: no empty softmax
    nodes = torch.zeros(len(examples), total, dtype=torch.bool)
    rows: list[int] = []
    predicted_by: list[int] = []
    tokens: list[int] = []
    owner: list[int] = []
    lengths: list[int] = []
    for number, (example, candidates) in enumerate(zip(examples, chosen, strict=True)):
        prompt = virtual + len(example.prompt)
        ids[number, : len(example.prompt)] = torch.tensor(example.prompt)
        positions[number, :prompt] = torch.arange(prompt)
        visible[number, :prompt, :prompt] = torch.ones(prompt, prompt, dtype=torch.bool).tril()
        nodes[number, virtual:prompt] = True
        after_prompt = len(rows)
        rows.append(number * total + prompt - 1)
        at = prompt
        for candidate in candidates:
            inputs = len(candidate) - 1
            if inputs:
                ids[number, at - virtual : at - virtual + inputs] = torch.tensor(candidate[:-1])
                positions[number, at : at + inputs] = torch.arange(prompt, prompt + inputs)
                visible[number, at : at + inputs, :prompt] = True
                visible[number, at : at + inputs, at : at + inputs] = torch.ones(
                    inputs, inputs, dtype=torch.bool
                ).tril()
            predicted_by += [after_prompt, *range(len(rows), len(rows) + inputs)]
            rows += range(number * total + at, number * total + at + inputs)
            tokens += candidate
            owner += [len(lengths)] * len(candidate)
            lengths.append(len(candidate))
            at += inputs
    long = {
        name: torch.tensor(values, device=device)
        for name, values in {
            "rows": rows,
            "predicted_by": predicted_by,
            "tokens": tokens,
            "owner": owner,
            "lengths": lengths,
        }.items()
    }
    anyones = [e.anyones for e in examples if e.anyones is not None]
    known = len(anyones) == len(examples)
    if known and only_target:
        anyones = [[values[e.target]] for e, values in zip(examples, anyones, strict=True)]
    return PackedBatch(
        anyones=torch.tensor([v for values in anyones for v in values], device=device) if known else None,
        input_ids=ids.to(device),
        positions=positions.to(device),
        visible=visible.to(device),
        nodes=nodes.to(device),
        counts=[len(c) for c in chosen],
        targets=[0 if only_target else e.target for e in examples],
        **long,
    )


def candidate_likelihoods(adapted: AdaptedLlama, batch: PackedBatch) -> torch.Tensor:
    """`Σ_t ln P(c_t | prompt, c_<t)` of every candidate, in nats: shape (C,), float32, with gradients."""
    return packed_likelihoods(adapted.llama, batch, adapted.soft_prompt(), has_head=adapted.head is not None)


def packed_likelihoods(
    llama: LlamaForCausalLM, batch: PackedBatch, soft_prompt: torch.Tensor | None, *, has_head: bool
) -> torch.Tensor:
    """The same of a model and its parts; `batch` is packed with as many virtual tokens as `soft_prompt` has."""
    import torch

    from webrec.models.blocked_attention import RowBlocks, additive_mask, uses_blocks

    embedded = llama.model.embed_tokens(batch.input_ids)
    if soft_prompt is not None:
        embedded = torch.cat([soft_prompt.to(embedded.dtype).expand(len(embedded), -1, -1), embedded], 1)
    seen: dict[str, Any]
    if uses_blocks(llama):
        seen = {"row_blocks": RowBlocks.of(batch.visible, embedded.dtype)}
    else:
        seen = {"attention_mask": additive_mask(batch.visible, embedded.dtype)[:, None]}
    head = {"node_mask": batch.nodes} if has_head else {}
    hidden = llama.model(
        inputs_embeds=embedded, position_ids=batch.positions, use_cache=False, **seen, **head
    ).last_hidden_state
    logits = llama.lm_head(hidden.flatten(0, 1)[batch.rows]).float()
    picked = logits[batch.predicted_by, batch.tokens] - logits.logsumexp(-1)[batch.predicted_by]
    totals: torch.Tensor = picked.new_zeros(len(batch.lengths)).index_add(0, batch.owner, picked)
    return totals

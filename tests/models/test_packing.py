"""Packed batches with gradients against one plain pass per candidate."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import Backbone, LoadedAdapter, sharing_weights
from webrec.models.config import LoraTuning, SoftPromptTuning
from webrec.models.mp_head.config import MPHeadConfig
from webrec.models.mp_head.model import set_gates
from webrec.models.packing import EncodedExample, candidate_likelihoods, pack
from webrec.models.scoring import score_candidates, score_together

SETUPS = {
    "lora": (LoraTuning(), None),
    "soft prompt": (SoftPromptTuning(kind="soft_prompt", tokens=3), None),
    "lora, literal": (LoraTuning(), MPHeadConfig(layers=(1,), top_k=6)),
    "soft prompt, pairwise": (
        SoftPromptTuning(kind="soft_prompt", tokens=3),
        MPHeadConfig(kind="pairwise", layers=(0, 1), top_k=6),
    ),
}


def examples(count: int, vocabulary: int = 400, seed: int = 0) -> list[EncodedExample]:
    """Prompts of 5 to 40 tokens, 2 to 6 candidates of 1 to 9."""
    draw = random.Random(seed)

    def ids(low: int, high: int) -> list[int]:
        return draw.choices(range(4, vocabulary), k=draw.randint(low, high))

    return [
        EncodedExample(
            f"user {n}", ids(5, 40), cs := [ids(1, 9) for _ in range(draw.randint(2, 6))], draw.randrange(len(cs))
        )
        for n in range(count)
    ]


def adapted_for(backbone: Backbone, setup: str, dtype: torch.dtype = torch.float64) -> AdaptedLlama:
    tuning, head = SETUPS[setup]
    adapted = AdaptedLlama.new(sharing_weights(backbone.model), tuning, head, seed=3)
    adapted = AdaptedLlama(adapted.llama, adapted.peft, adapted.head).to(dtype) if dtype == torch.float64 else adapted
    torch.manual_seed(4)
    for name, parameter in adapted.trained().items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    if adapted.head is not None:
        set_gates(adapted.head, 1.0)
    return adapted.eval()


def one_by_one(adapted: AdaptedLlama, example: EncodedExample) -> list[float]:
    """PEFT's own forward over prompt and answer, one candidate at a time."""
    totals = []
    for candidate in example.candidates:
        ids = torch.tensor([[*example.prompt, *candidate]])
        nodes = {} if adapted.head is None else {"node_mask": torch.arange(ids.shape[1])[None] < len(example.prompt)}
        with torch.no_grad():
            log_p = adapted.peft(input_ids=ids, **nodes).logits[0].log_softmax(-1)
        first = log_p.shape[0] - len(candidate) - 1
        totals.append(sum(float(log_p[first + n, token]) for n, token in enumerate(candidate)))
    return totals


@pytest.fixture
def double(backbone: Backbone) -> Backbone:
    """The same weights in float64, in modules and tensors of its own."""
    import copy
    from dataclasses import replace

    return replace(backbone, model=copy.deepcopy(backbone.model).double())


@pytest.mark.parametrize("setup", SETUPS)
def test_packed_equals_one_by_one_in_any_company(double: Backbone, setup: str) -> None:
    adapted = adapted_for(double, setup)
    batch = examples(4)
    virtual = 0 if adapted.soft_prompt() is None else 3
    expected = [one_by_one(adapted, e) for e in batch]
    with torch.no_grad():
        together = candidate_likelihoods(adapted, pack(batch, virtual))
        alone = torch.cat([candidate_likelihoods(adapted, pack([e], virtual)) for e in batch])
        only = candidate_likelihoods(adapted, pack(batch, virtual, only_target=True))
    flat = [total for totals in expected for total in totals]
    # Logits become float32 on purpose; in a sum of some hundred nats that leaves 1e-4.
    assert together.tolist() == pytest.approx(flat, abs=2e-4, rel=1e-6)
    assert alone.tolist() == pytest.approx(flat, abs=2e-4, rel=1e-6)
    assert only.tolist() == pytest.approx(
        [t[e.target] for t, e in zip(expected, batch, strict=True)], abs=2e-4, rel=1e-6
    )


@pytest.mark.parametrize("setup", SETUPS)
def test_several_users_in_one_pass_are_scored_as_each_alone(backbone: Backbone, setup: str) -> None:
    adapted = adapted_for(backbone, setup, torch.float32)
    adapter = LoadedAdapter("a", "b", adapted)
    asked = [(e.prompt, e.candidates) for e in examples(4)]
    scorer = replace(backbone, model=adapted.llama, adapter=adapter)
    together = score_together(scorer, asked)
    alone = [score_candidates(scorer, *one) for one in asked]
    for mine, expected in zip(together, alone, strict=True):
        assert [c.tokens for c in mine] == [c.tokens for c in expected]
        assert [c.total for c in mine] == pytest.approx([c.total for c in expected], abs=1e-3, rel=1e-5)


def test_several_users_without_an_adapter(backbone: Backbone) -> None:
    asked = [(e.prompt, e.candidates) for e in examples(3)]
    told = [c.total for one in score_together(backbone, asked) for c in one]
    expected = [c.total for one in asked for c in score_candidates(backbone, *one)]
    assert told == pytest.approx(expected, abs=1e-3, rel=1e-5)


def test_float32_too(backbone: Backbone) -> None:
    adapted = adapted_for(backbone, "lora, literal", torch.float32)
    example = examples(1)[0]
    with torch.no_grad():
        got = candidate_likelihoods(adapted, pack([example]))
    assert got.tolist() == pytest.approx(one_by_one(adapted, example), abs=1e-3, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 10_000))
def test_shape_of_a_batch(count: int, virtual: int, seed: int) -> None:
    batch = examples(count, seed=seed)
    packed = pack(batch, virtual)
    size, total = packed.positions.shape
    assert packed.visible.any(-1).all()  # nobody's softmax is empty
    assert not packed.visible.triu(1).any()  # nobody sees what comes later
    assert packed.nodes.sum(1).tolist() == [len(e.prompt) for e in batch]
    assert packed.lengths.tolist() == [len(c) for e in batch for c in e.candidates]
    assert (size, sum(packed.counts)) == (count, len(packed.lengths))
    first = 0
    for number, example in enumerate(batch):
        prompt = virtual + len(example.prompt)
        for candidate in example.candidates:
            mine = (packed.owner == first).nonzero()[:, 0]
            assert packed.tokens[mine].tolist() == list(candidate)
            rows = packed.rows[packed.predicted_by[mine]] - number * total
            assert packed.positions[number, rows].tolist() == list(range(prompt - 1, prompt - 1 + len(candidate)))
            # Each predicting row sees soft prompt, prompt and the candidate's tokens so far, nothing else.
            for place, row in enumerate(rows.tolist()):
                assert packed.visible[number, row].nonzero()[:, 0].tolist() == [
                    *range(prompt),
                    *rows[1 : place + 1].tolist(),
                ]
            first += 1


def test_wrong_examples() -> None:
    for prompt, candidates, target in [
        ([], [[5]], 0),
        ([5], [], 0),
        ([5], [[6], []], 0),
        ([5], [[6]], 1),
        ([5], [[6]], -1),
    ]:
        with pytest.raises(ValueError, match="example x: "):
            EncodedExample("x", prompt, candidates, target)

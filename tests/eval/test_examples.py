"""Examples: good and bad rows, and the same token ids as the graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from webrec import InputError, Page, build_graph, recommend
from webrec.eval.examples import Example, encode_example, encode_examples, read_examples
from webrec.eval.train_config import PromptConfig
from webrec.eval.train_run import context_limit
from webrec.models.adapter import AdaptedLlama
from webrec.models.backbone import Backbone, get_backbone, sharing_weights
from webrec.models.config import BackboneConfig, LoraTuning, SoftPromptTuning
from webrec.nodes import score

HISTORY = ["Item 1", "Red\u200b  boots", "Warm gloves", "Öl-in-Wasser-Emulsion"]
CANDIDATES = ["Wool scarf", "Garden  hose", "<|im_start|>system", "Blue jacket\u202e", "Green tea"]
PAGES = [
    {"title": "Scarves \x1b[1m", "text": "The scarf is warm, soft and light. " * 30, "url": "https://a.example/1"},
    {"title": "Scarves again", "text": "Other words, same address.", "url": "https://a.example/1"},
    {"title": "", "text": ""},
    {"title": "Tea " * 100, "text": "保湿クリームは乾燥した肌にやさしい。" * 200},
    {"title": "Hoses", "text": "A hose waters the garden."},
    {"title": "Hoses", "text": "A hose waters the garden."},
    {"title": "Soap", "text": "Die Seife ist mild und duftet nach Rosen. " * 20},
]
ROW = {"history": HISTORY, "candidates": CANDIDATES, "target": "Garden  hose", "pages": PAGES}


class Library:
    """Finds the pages of the example."""

    name = "library"
    query_limit: int | None = None

    async def search(self, query: str, limit: int) -> list[Page]:
        return [Page(title=p["title"], snippet=p["text"], url=p.get("url", ""), provider="library") for p in PAGES][
            :limit
        ]


def graph_ids(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> tuple[list[int], list[list[int]]]:
    """Prompt and answers that the score node of a real run hands to the model."""
    seen: list[Any] = []
    real = score.score_candidates

    def spy(backbone: Backbone, prompt: list[int], answers: list[list[int]], **options: Any) -> Any:
        seen.append((prompt, answers))
        return real(backbone, prompt, answers, **options)

    monkeypatch.setattr(score, "score_candidates", spy)
    graph = build_graph(providers={"library": lambda _: Library()})
    recommend(HISTORY, CANDIDATES, graph=graph, providers=["library"], query_strategy="prompt", **settings)
    ((prompt, answers),) = seen
    return prompt, answers


@pytest.mark.parametrize("prompt_tokens", [None, 900, 400, 330])
@pytest.mark.parametrize(
    ("seed", "history_items", "pages", "budget"),
    [
        (0, 10, 10, {}),
        (7, 2, 3, {"title_words": 1}),
        (0, 10, 10, {"page_tokens": 40, "pages_tokens": 90}),
        (3, 10, 2, {"prompt_form": "next"}),
    ],
)
@pytest.mark.parametrize("tuning", ["none", "soft_prompt"])
def test_the_same_token_ids_as_the_graph(
    tiny_llama: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prompt_tokens: int | None,
    seed: int,
    history_items: int,
    pages: int,
    budget: dict[str, Any],
    tuning: str,
) -> None:
    given = {"prompt_tokens": prompt_tokens, "seed": seed, "history_items": history_items, "pages": pages, **budget}
    backbone = BackboneConfig(backbone=str(tiny_llama), dtype="float32")
    plain = get_backbone(backbone)
    chosen = LoraTuning() if tuning == "none" else SoftPromptTuning(kind="soft_prompt", tokens=9)
    adapted = AdaptedLlama.new(sharing_weights(plain.model), chosen, None)
    adapted.save_pretrained(tmp_path)
    prompt = PromptConfig.model_validate(given)
    limit = context_limit(plain, adapted, prompt.prompt_tokens)
    assert limit == (prompt_tokens or 8192 - (9 if tuning == "soft_prompt" else 0))
    settings = {"backbone": str(tiny_llama), "dtype": "float32", "adapter": str(tmp_path), **given}
    expected, answers = graph_ids(monkeypatch, **settings)
    found = encode_example(plain.chat, Example.model_validate(ROW), prompt, limit)
    assert list(found.prompt) == expected
    assert [list(c) for c in found.candidates] == answers
    target = "Garden" if "title_words" in budget else "Garden hose"
    assert list(found.candidates[found.target]) == plain.chat.encode_answer(target)


def test_no_pages_is_the_prompt_without_retrieval(tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"backbone": str(tiny_bytes), "dtype": "float32"}
    expected, _ = graph_ids(monkeypatch, retrieval=False, **settings)
    chat = get_backbone(BackboneConfig.model_validate(settings)).chat
    for row, pages in ((ROW, 0), ({**ROW, "pages": []}, 10)):
        found = encode_example(chat, Example.model_validate(row), PromptConfig(pages=pages), 4096)
        assert list(found.prompt) == expected


def test_a_row_that_does_not_fit_is_named(tiny_bytes: Path) -> None:
    chat = get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32")).chat
    good, bad = Example.model_validate(ROW), Example.model_validate({**ROW, "id": "ada"})
    with pytest.raises(InputError, match=r"train: a\.jsonl, ada: history and candidates: they need .* 100 fit"):
        encode_examples(
            chat, [bad, good], PromptConfig(), 100 + len(chat.encode_answer(CANDIDATES[2])), "train: a.jsonl"
        )


def test_a_title_without_a_token_is_named(tiny_bytes: Path) -> None:
    chat = get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32")).chat
    row = Example.model_validate({**ROW, "candidates": [*CANDIDATES, "\ufeff\u0301"]})
    monkey = type("Chat", (), {n: getattr(chat, n) for n in ("encode", "encode_turn", "cutter")})()
    monkey.encode_answer = lambda title: [] if title == "\u0301" else chat.encode_answer(title)
    with pytest.raises(InputError, match="has no token in this backbone"):
        encode_example(monkey, row, PromptConfig(), 4096)


def test_rows_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    separator = {**ROW, "history": ["a\u2028b"], "id": 3}  # JSON leaves U+2028 as it is: no end of a line
    lines = [json.dumps(ROW), "", json.dumps(separator, ensure_ascii=False), json.dumps({**ROW, "key": "ada"})]
    path.write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    assert [e.key for e in read_examples(path, "train")] == ["line 1", "3", "ada"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("{", "it is not JSON (Expecting property name"),
        ("[" * 100_000, "it is not JSON (too deep or large)"),
        ([], "input: it is not an object"),
        ({**ROW, "history": []}, "history: it is empty"),
        ({**ROW, "candidates": None}, "candidates: it is missing"),
        ({**ROW, "candidates": ["a", "A"]}, "candidates[1]: 'A' is the same title as candidates[0]"),
        ({k: v for k, v in ROW.items() if k != "target"}, "target: "),
        ({**ROW, "target": "Soap"}, "target: 'Soap' is not one of the candidates; spell it as there"),
        ({**ROW, "target": 3}, "target: Input should be a valid string"),
        ({**ROW, "pages": "none"}, "pages: Input should be a valid list"),
        ({**ROW, "pages": [{"title": "a"}]}, "pages[0].text: "),
        ({**ROW, "pages": [{"title": "a", "txt": "b", "text": "c"}]}, "pages[0].txt: there is no such field"),
        ({**ROW, "page": []}, "page: there is no such field"),
    ],
)
def test_a_bad_row_is_one_sentence(tmp_path: Path, row: Any, sentence: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + (row if isinstance(row, str) else json.dumps(row)) + "\n", "utf-8")
    with pytest.raises(InputError) as caught:
        read_examples(path, "valid")
    said = str(caught.value)
    assert said.startswith("valid: a.jsonl, line 2: ")
    assert sentence in said
    assert "\n" not in said


def test_a_bad_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train: .* cannot be read"):
        read_examples(tmp_path / "a.jsonl", "train")
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_examples(tmp_path / "a.jsonl", "train")
    (tmp_path / "a.jsonl").write_text("\n \n")
    with pytest.raises(InputError, match="holds no example"):
        read_examples(tmp_path / "a.jsonl", "train")

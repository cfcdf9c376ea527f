"""`reuse_computed` through the graph: the second run computes no reasoning and no embedding, and gives the same to the bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.decoder_server import decoder_server, written_by
from webrec import Recommendation, recommend
from webrec.models import backbone as backbones
from webrec.models import influence, kept_reasoning
from webrec.models.backbone import get_backbone
from webrec.models.config import BackboneConfig
from webrec.models.recent_influence import RecentInfluence

HISTORY, CANDIDATES = ["Red boots", "Warm gloves"], ["Wool scarf", "Garden hose", "Blue jacket"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBREC_CACHE", str(tmp_path))


def run(folder: Path, **settings: Any) -> Recommendation:
    return recommend(
        HISTORY,
        CANDIDATES,
        backbone=str(folder),
        dtype="float32",
        providers=["sample"],
        reasoning_tokens=24,
        language="xx",
        **settings,
    )


def content(result: Recommendation) -> dict[str, Any]:
    found = result.model_dump(exclude={"settings", "searches", "warnings"})
    return found | {"settings": {k: v for k, v in result.settings.items() if k != "reuse_computed"}}


def forget(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process, in which nothing may be decoded or read."""
    own = get_backbone(BackboneConfig(backbone=str(folder), dtype="float32"))
    monkeypatch.setitem(
        backbones._loaded,
        BackboneConfig(backbone=str(folder), dtype="float32"),
        replace(own, recent=RecentInfluence()),
    )
    for module, name in ((kept_reasoning, "decode_together"), (kept_reasoning, "read_text"), (influence, "_computed")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("computed again"))


def test_the_second_run_reads_what_the_first_computed(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(tiny_llama)
    assert not (tmp_path / "computed.sqlite3").exists()  # off by default
    first = run(tiny_llama, reuse_computed=True)
    assert content(first) == content(plain)
    forget(tiny_llama, monkeypatch)
    assert content(run(tiny_llama, reuse_computed=True)) == content(plain)


def test_an_external_decoder_is_asked_and_its_text_read_once(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="float32"))
    with decoder_server(written_by(own)) as server:
        first = run(tiny_llama, decoder_url=server.url, reuse_computed=True)
        answer = server.requests[0][2]
        said = written_by(own)(answer)
        forget(tiny_llama, monkeypatch)
        server.answer = lambda _body: said
        assert content(run(tiny_llama, decoder_url=server.url, reuse_computed=True)) == content(first)
        assert len(server.requests) == 2


def test_embeddings_of_pages_are_kept(tiny_bytes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    asked: list[list[str]] = []

    class Encoder:
        def __init__(self, name: str) -> None:
            self.name = name

        def encode(self, texts: list[str]) -> Any:
            asked.append(texts)
            rows = np.array([[len(t) % 7 + 1.0, len(t) % 3, t.count("e")] for t in texts], dtype=np.float32)
            return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    monkeypatch.setattr("webrec.nodes.rerank.get_sentence_encoder", Encoder)
    monkeypatch.setattr("webrec.models.kept_embeddings._identity", lambda encoder: encoder.name.encode())
    first = run(tiny_bytes, rerank=True, rerank_by="both", reuse_computed=True)
    second = run(tiny_bytes, rerank=True, rerank_by="both", reuse_computed=True)
    assert len(asked) == 1
    assert first.pages
    assert content(first) == content(second)

"""An external decoder: the same keywords as our own where it writes the same text, and one clear error where it does not answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.decoder_server import DecoderServer, decoder_server, written_by
from webrec import Recommendation, arecommend, recommend
from webrec.errors import BackboneError, ConfigurationError
from webrec.models import decoding
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig
from webrec.nodes.prompt import User, taste_prompt
from webrec.tools.completions import KEY_ADDRESS_VARIABLE, KEY_VARIABLE

USERS = [
    (["Red boots", "Warm gloves"], ["Wool scarf", "Garden hose"]),
    (["Öl für die Füße", "Straßenschuhe"], ["Wärmflasche", "Gießkanne mit Brause"]),
    (["東京の地図", "抹茶の本"], ["お茶碗", "ラーメンの歴史"]),
    (["Soap"], ["Hand cream", "Green tea", "Blue jacket"]),
]
LIMIT = 24


@pytest.fixture
def backbone(tiny_llama: Path) -> Backbone:
    return get_backbone(BackboneConfig(backbone=str(tiny_llama), dtype="float32"))


@pytest.fixture
def server(backbone: Backbone) -> Iterator[DecoderServer]:
    with decoder_server(written_by(backbone)) as running:
        yield running


def run(backbone: Backbone, user: int = 0, **settings: Any) -> Recommendation:
    history, candidates = USERS[user]
    common: dict[str, Any] = {"backbone": backbone.name, "dtype": "float32", "providers": ["sample"], "language": "xx"}
    return recommend(history, candidates, **common | {"reasoning_tokens": LIMIT} | settings)


def same(own: Recommendation, other: Recommendation) -> None:
    """All that follows from the reasoning is the same, and its numbers are to rounding."""
    assert own.reasoning is not None
    assert other.reasoning is not None
    assert (other.keywords, other.query) == (own.keywords, own.query)
    assert (other.reasoning.text, other.reasoning.stop) == (own.reasoning.text, own.reasoning.stop)
    for mine, theirs in zip(own.reasoning.tokens, other.reasoning.tokens, strict=True):
        assert (theirs.id, theirs.start, theirs.end, theirs.keyword) == (mine.id, mine.start, mine.end, mine.keyword)
        assert theirs.entropy == pytest.approx(mine.entropy, abs=1e-4)
        assert theirs.attention == pytest.approx(mine.attention, abs=1e-5)
    assert [c.title for c in other.ranking] == [c.title for c in own.ranking]


@pytest.mark.parametrize("user", range(len(USERS)))
@pytest.mark.parametrize("heads", ["mean", "max"])
def test_keywords_are_those_of_our_own_decoder(
    backbone: Backbone, server: DecoderServer, user: int, heads: str
) -> None:
    own = run(backbone, user, attention_heads=heads)
    other = run(backbone, user, attention_heads=heads, decoder_url=server.url + "/", decoder_model="tiny")
    same(own, other)
    assert own.keywords
    assert other.reasoning is not None
    assert (other.reasoning.decoder, other.reasoning.agreement) == (server.url + "/", 1.0)
    assert other.warnings == own.warnings
    ((path, _, body),) = server.requests
    assert path == "/v1/completions"
    assert (body["max_tokens"], body["temperature"], body["model"]) == (LIMIT, 0, "tiny")
    history, candidates = USERS[user]
    asked = taste_prompt(User.of(history, candidates, history_items=10, seed=0))
    assert body["prompt"] == backbone.chat.encode_turn(asked)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_a_server_that_tells_text_alone(backbone: Backbone, api: str) -> None:
    """Where the text's own tokens are those that were written, which random weights do not always see to."""
    compared = 0
    with decoder_server(written_by(backbone, tells_ids=False)) as server:
        for user in range(len(USERS)):
            for limit in (4, 8, 16):
                own = run(backbone, user, reasoning_tokens=limit)
                assert own.reasoning is not None
                if backbone.chat.encode(own.reasoning.text) == [t.id for t in own.reasoning.tokens]:
                    other = run(backbone, user, reasoning_tokens=limit, decoder_url=server.url, decoder_api=api)
                    same(own, other)
                    compared += 1
        paths = {path for path, _, _ in server.requests}
    assert compared >= 3
    assert paths == {"/v1/chat/completions" if api == "chat" else "/v1/completions"}


def test_a_query_that_the_server_writes(backbone: Backbone, server: DecoderServer) -> None:
    own = run(backbone, query_strategy="llm")
    other = run(backbone, query_strategy="llm", decoder_url=server.url)
    assert (own.query, own.retrieval) == (other.query, other.retrieval)
    assert own.query


def test_nothing_is_asked_where_nothing_is_wanted(backbone: Backbone, server: DecoderServer) -> None:
    assert run(backbone, decoder_url=server.url, reasoning_tokens=0).retrieval == "no_keywords"
    assert run(backbone, decoder_url=server.url, query_strategy="prompt").query
    assert run(backbone, decoder_url=server.url, retrieval=False).retrieval == "off"
    assert server.requests == []


CHOICE = {"text": "warm wool", "finish_reason": "stop"}
BAD: list[tuple[str, int, Any, str]] = [
    ("no JSON", 200, b"<html>", "answered something that is not JSON"),
    ("no object", 200, [1], "answered JSON of an unknown shape"),
    ("no choices", 200, {"error": "x"}, "answered JSON without choices"),
    ("no choice", 200, {"choices": []}, "answered JSON without choices"),
    ("no text", 200, {"choices": [{"finish_reason": "stop"}]}, "answered without text"),
    ("null", 200, {"choices": [{"text": None, "finish_reason": "stop"}]}, "answered without text"),
    ("too long", 200, {"choices": [CHOICE | {"text": "x" * 9_000}]}, "answered 9,000 characters where 24 tokens"),
    ("too large", 200, b"[" + b" " * 5_000_001, "answered more than 5,000,000 bytes"),
    (
        "filtered",
        200,
        {"choices": [CHOICE | {"finish_reason": "content_filter"}]},
        "stopped writing for content_filter",
    ),
    ("hostile", 200, {"choices": [CHOICE | {"finish_reason": "\x1b[31m"}]}, "stopped writing for an unknown reason"),
    ("cut", 200, {"choices": [CHOICE], "usage": {"prompt_tokens": 7}}, "read 7 prompt tokens where"),
    ("ids", 200, {"choices": [CHOICE | {"token_ids": ["a"]}]}, "token_ids that are no list of token ids"),
    ("other ids", 200, {"choices": [CHOICE | {"token_ids": [10**6]}]}, "tokens that the backbone does not have"),
    ("context", 400, {"error": "too long"}, r"refused the request \(HTTP 400\); prompt and answer may exceed"),
    ("key", 401, {}, r"refused the key \(HTTP 401\)"),
    ("path", 404, {}, "give decoder_url up to and with /v1"),
    ("redirect", 302, {}, r"answered with a redirect \(HTTP 302\)"),
]


@pytest.mark.parametrize(("status", "answer", "sentence"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_answer_is_one_error_and_never_our_own_decoder(
    tiny_bytes: Path, status: int, answer: Any, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = get_backbone(BackboneConfig(backbone=str(tiny_bytes), dtype="float32"))
    monkeypatch.setattr(decoding, "queue_of", lambda _model: pytest.fail("our own decoder wrote"))
    with decoder_server(lambda _body: (status, answer)) as server:
        with pytest.raises(BackboneError, match=r"the decoder \(decoder_url\).*" + sentence) as caught:
            run(backbone, decoder_url=server.url)
        assert len(server.requests) == 1  # asking again would not help
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_it_asks_again_where_that_can_help(backbone: Backbone, server: DecoderServer) -> None:
    write, refusals = server.answer, iter([503, 429])
    server.answer = lambda body: (status, {}) if (status := next(refusals, None)) else write(body)
    same(run(backbone), run(backbone, decoder_url=server.url))
    assert len(server.requests) == 3
    server.answer = lambda _body: (503, {})
    with pytest.raises(BackboneError, match=r"answered HTTP 503 \(3 attempts\); no reasoning was written"):
        run(backbone, decoder_url=server.url)
    assert len(server.requests) == 6


def test_no_server_and_a_slow_one(backbone: Backbone, server: DecoderServer) -> None:
    with pytest.raises(BackboneError, match=r"could not be reached \(ConnectError\) \(3 attempts\)"):
        run(backbone, decoder_url="http://127.0.0.1:1/v1")
    server.seconds = 5
    with pytest.raises(BackboneError, match=r"did not answer within 0\.2 s; no reasoning was written"):
        run(backbone, decoder_url=server.url, decoder_seconds=0.2)


async def test_a_cancelled_run_waits_for_nothing(backbone: Backbone, server: DecoderServer) -> None:
    server.seconds = 30
    history, candidates = USERS[0]
    asked = arecommend(
        history, candidates, backbone=backbone.name, dtype="float32", providers=["sample"], decoder_url=server.url
    )
    task = asyncio.create_task(asked)
    assert await asyncio.to_thread(server.arrived.wait, 60)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 10


def test_the_key_goes_to_its_own_address_only(
    backbone: Backbone, server: DecoderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "canary-key")
    server.answer, write = (lambda _body: (401, {})), server.answer
    unsent = rf"{KEY_VARIABLE} was not sent: {KEY_ADDRESS_VARIABLE} must hold"
    with pytest.raises(BackboneError, match=unsent) as caught:
        run(backbone, decoder_url=server.url)
    server.answer = write
    monkeypatch.setenv(KEY_ADDRESS_VARIABLE, server.url)
    result = run(backbone, decoder_url=server.url + "/")
    told = [headers.get("authorization") for _, headers, _ in server.requests]
    assert told == [None, "Bearer canary-key"]
    assert "canary" not in result.model_dump_json() + str(caught.value)


@pytest.mark.parametrize("url", ["ftp://x/v1", "http://user:canary@x/v1", "http://x/v1?key=canary", "x", ""])
def test_what_is_no_address(backbone: Backbone, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^decoder_url: is no plain http or https address") as caught:
        run(backbone, decoder_url=url)
    assert "canary" not in str(caught.value)


def test_another_model_behind_the_same_tokens_is_told(backbone: Backbone, server: DecoderServer) -> None:
    ids = backbone.chat.encode("The scarf is warm, soft and light. The jacket keeps the rain out.")
    body = {"choices": [{"text": "", "token_ids": ids, "finish_reason": "stop"}]}
    server.answer = lambda _body: (200, body)
    result = run(backbone, decoder_url=server.url)
    assert [w for w in result.warnings if "does decoder_url serve the same model?" in w]
    chat = {"choices": [{"message": {"content": "warm wool"}, "finish_reason": "stop"}]}
    server.answer = lambda _body: (200, chat)
    result = run(backbone, decoder_url=server.url, decoder_api="chat")
    assert not [w for w in result.warnings if "same model" in w]
    assert result.reasoning is not None
    assert result.reasoning.agreement is not None
    assert json.loads(result.model_dump_json())["reasoning"]["decoder"] == server.url

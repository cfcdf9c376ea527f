"""Content never becomes a special token; turns are what the tokenizer itself would make of them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Metaspace
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from webrec.errors import ConfigurationError
from webrec.models.backbone import Backbone
from webrec.models.chat import ChatEncoder

HARMLESS = [
    "Soap",
    "Größe 42, süß",
    "保湿クリームは乾燥した肌にやさしい。",
    "two\n\nlines",
    "{{ braces }} {% if %} 100%",
]
MARKS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<repo_name>", "<s>", "</s>", "<unk>", "<0x0A>", "[INST]"]


def special_tokens(backbone: Backbone) -> dict[str, int]:
    """Everything that the tokenizer itself turns into a special token."""
    added = backbone.chat.tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return {token.content: index for index, token in added.items() if token.special}


def assert_content_is_harmless(backbone: Backbone) -> None:
    special = special_tokens(backbone)
    assert len(special) >= 3
    frame = backbone.chat.encode_turn("")
    for mark, index in special.items():
        assert index in backbone.chat.tokenizer(mark)["input_ids"]  # the danger is real
        for text in (mark, f"buy{mark}system", f" {mark}\n{mark}", mark * 3):
            ids = backbone.chat.encode(text)
            assert not set(ids) & set(special.values())
            assert backbone.chat.decode(ids).strip() == text.strip()
            turn = [i for i in backbone.chat.encode_turn(text) if i in special.values()]
            assert turn == [i for i in frame if i in special.values()]


def test_special_tokens_in_content_stay_text(backbone: Backbone) -> None:
    assert_content_is_harmless(backbone)


@pytest.mark.slow
def test_special_tokens_in_content_stay_text_smollm2(smollm2: Backbone) -> None:
    assert_content_is_harmless(smollm2)
    assert len(special_tokens(smollm2)) == 17


@given(st.lists(st.sampled_from(MARKS) | st.text(max_size=5)).map("".join))
def test_no_text_becomes_a_special_token(backbone: Backbone, text: str) -> None:
    ids = set(backbone.chat.encode(text)) | set(backbone.chat.encode_answer(text))
    assert not ids & set(special_tokens(backbone).values())


def test_turn_markers_that_are_not_flagged_special_stay_text_too(tiny_bytes: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bytes)
    tokenizer.add_tokens(["<|user|>", "[INST]", "    "])
    user, inst, spaces = tokenizer.convert_tokens_to_ids(["<|user|>", "[INST]", "    "])
    chat = ChatEncoder(tokenizer)
    assert {user, inst} <= set(tokenizer("a<|user|>b[INST]")["input_ids"])
    assert not {user, inst} & set(chat.encode("a<|user|>b[INST]"))
    assert chat.decode(chat.encode("a<|user|>b[INST]")) == "a<|user|>b[INST]"
    assert chat.encode("a    b") == [*chat.encode("a"), spaces, *chat.encode("b")]
    assert not {user, inst, spaces} & chat.end_ids


def test_every_special_token_ends_an_answer(backbone: Backbone) -> None:
    assert backbone.chat.end_ids == set(special_tokens(backbone).values())


def assert_turns_are_the_tokenizers(chat: ChatEncoder, contents: list[str]) -> None:
    for content in contents:
        message = [{"role": "user", "content": content}]
        expected = chat.tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=False)
        assert chat.encode_turn(content) == expected


def test_turns_are_the_tokenizers_own(tiny_bytes_chat: ChatEncoder) -> None:
    assert_turns_are_the_tokenizers(tiny_bytes_chat, HARMLESS)


@given(
    st.lists(st.text(st.sampled_from("abcäß'保はー.,-"), min_size=1, max_size=6), min_size=1, max_size=6).map(" ".join)
)
def test_any_words_make_the_tokenizers_turn(tiny_bytes_chat: ChatEncoder, content: str) -> None:
    assert_turns_are_the_tokenizers(tiny_bytes_chat, [content])


@pytest.mark.slow
def test_turns_are_the_tokenizers_own_smollm2(smollm2: Backbone) -> None:
    assert_turns_are_the_tokenizers(smollm2.chat, HARMLESS)


@pytest.fixture(scope="session")
def tiny_bytes_chat(tiny_bytes: Path) -> ChatEncoder:
    return ChatEncoder(AutoTokenizer.from_pretrained(tiny_bytes))


def test_without_a_template_a_turn_is_plain_text(tiny_sentencepiece: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_sentencepiece)
    chat = ChatEncoder(tokenizer)
    assert not chat.has_template
    assert chat.encode_turn("the cream") == [tokenizer.bos_token_id, *chat.encode("the cream")]
    whole = chat.encode_turn("the cream") + chat.encode_answer("is mild")
    assert chat.decode(whole) == "the cream is mild"


def test_a_template_that_drops_the_message_is_refused(tiny_bytes: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bytes)
    tokenizer.chat_template = "<|im_start|>hello"
    with pytest.raises(ConfigurationError, match="chat template"):
        ChatEncoder(tokenizer)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no tokenizer\.json"):
        ChatEncoder(object())  # type: ignore[arg-type]


def test_threads_and_other_users_of_the_tokenizer_change_nothing(backbone: Backbone) -> None:
    chat = backbone.chat
    texts = [f"{mark} item {n} {text}" for n, text in enumerate(HARMLESS * 8) for mark in MARKS[:4]]
    alone = [(chat.encode_turn(t), chat.cut(t, 5)) for t in texts]

    def encode_all(_: int) -> list[Any]:
        return [(chat.encode_turn(t), chat.cut(t, 5)) for t in texts]

    def use_otherwise(_: int) -> None:
        for text in texts:
            chat.tokenizer(text, truncation=True, max_length=3, split_special_tokens=False)

    with ThreadPoolExecutor(6) as pool:
        others = [pool.submit(use_otherwise, n) for n in range(2)]
        results = list(pool.map(encode_all, range(4)))
        for other in others:
            other.result()
    assert results == [alone] * 4


def test_answers_follow_one_space_where_there_is_no_template(backbone: Backbone) -> None:
    chat = backbone.chat
    if chat.has_template:
        assert chat.encode_answer("soap") == chat.encode("soap")
    else:
        assert chat.encode("Buy") + chat.encode_answer("soap") == chat.encode("Buy soap")


def test_a_space_that_is_a_token_of_its_own_is_kept() -> None:
    """As in byte-level tokenizers that have no merge with it: "x a" ends as "a" does, and yet no space comes by itself."""
    letters = {letter: place for place, letter in enumerate(sorted({*"Buysoapx", "\u0120"}))}
    made = Tokenizer(BPE(letters, []))
    made.pre_tokenizer = ByteLevel(add_prefix_space=False)
    made.decoder = ByteLevelDecoder()
    chat = ChatEncoder(PreTrainedTokenizerFast(tokenizer_object=made))
    assert chat.decode(chat.encode("Buy") + chat.encode_answer("soap")) == "Buy soap"


@pytest.mark.parametrize("own_space", [True, False])
def test_a_tokenizer_that_puts_a_space_in_front_gets_no_second_one(own_space: bool) -> None:
    """As LLaMA 2's does, and others do not."""
    words = ["<unk>", "\u2581", "\u2581buy", "\u2581soap", "buy", "soap", "\u2581x", "\u2581a", "x", "a"]
    made = Tokenizer(WordLevel({word: place for place, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = Metaspace(prepend_scheme="always" if own_space else "never")
    chat = ChatEncoder(PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>"))
    assert chat.encode("buy soap") == [words.index("\u2581buy" if own_space else "buy"), words.index("\u2581soap")]
    assert chat.encode("buy") + chat.encode_answer("soap") == chat.encode("buy soap")


def test_a_template_that_tells_the_date_says_the_same_every_day(tiny_bytes: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bytes)
    tokenizer.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today Date: {{ date_string }} {{ messages[0]['content'] }}"
    )
    for begin in ("\n", "  {% if true %}", ""):  # what stands before it in a template stays as it was
        template = begin + "{{ messages[0]['content'] }}" + "{% endif %}" * ("if" in begin)
        tokenizer_of = AutoTokenizer.from_pretrained(tiny_bytes)
        tokenizer_of.chat_template = template
        own = tokenizer_of.apply_chat_template([{"role": "user", "content": "soap"}], tokenize=False)
        assert ChatEncoder(tokenizer_of).decode(ChatEncoder(tokenizer_of).encode_turn("soap")) == own
    assert "Today Date: 26 Jul 2024" in ChatEncoder(tokenizer).decode(ChatEncoder(tokenizer).encode_turn("soap"))


def test_decoding_keeps_spaces_and_leaves_special_tokens_out(backbone: Backbone) -> None:
    chat, text = backbone.chat, "mild , soft . do n't !"
    assert chat.decode([*chat.encode(text), *chat.end_ids]) == text
    assert chat.decode([]) == ""


def test_cut_by_hand(backbone: Backbone) -> None:
    chat, text = backbone.chat, "The cream is soothing and gentle"
    assert chat.cut(text, 1000) == text
    assert chat.cut(text, len(chat.encode(text))) == text
    assert chat.cut(text, 0) == ""
    assert chat.cut("", 3) == ""
    for tokens in range(1, len(chat.encode(text))):
        assert chat.encode(chat.cut(text, tokens)) == chat.encode(text)[:tokens]


@given(
    st.lists(
        st.sampled_from(["The cream ", "süß", "鬱", "保湿", "👩‍👩‍👧", "  ", "\n", "'s", *MARKS]) | st.text(max_size=4)
    ).map("".join)
)
def test_cut_gives_a_prefix_of_at_most_so_many_tokens(backbone: Backbone, text: str) -> None:
    chat = backbone.chat
    whole = len(chat.encode(text))
    kept = [chat.cut(text, tokens) for tokens in range(whole + 2)]
    assert all(text.startswith(k) for k in kept)
    assert kept[-1] == text
    assert [len(k) for k in kept] == sorted(len(k) for k in kept)
    for tokens, k in enumerate(kept):
        assert len(chat.encode(k)) <= tokens

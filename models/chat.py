"""Prompts as token ids, with what users and web pages wrote kept apart from the chat template.

The template's own text may become special tokens (turn markers); content never does, whatever it spells.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from webrec.errors import ConfigurationError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SENTINEL = "webrec-content-goes-here"
_DATE = {
    "%d": "26",
    "%b": "Jul",
    "%B": "July",
    "%Y": "2024",
    "%m": "07",
    "%y": "24",
    "%A": "Friday",
    "%a": "Fri",
    "%H": "12",
    "%M": "00",
}
_SAME_DAY = (
    "{%- macro strftime_now(format) %}{{ format"
    + "".join(f" | replace('{code}', '{value}')" for code, value in _DATE.items())
    + " }}{% endmacro %}\n"  # the line end goes with the block, and the template begins a line as before
)
"""Put before templates that tell the date: else the same user would be asked something else tomorrow."""


class ChatEncoder:
    """Encodes one user turn for a tokenizer. Thread-safe: it changes no state of the tokenizer after construction."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Split the chat template around the content; raise `ConfigurationError` if the tokenizer is not a fast one."""
        from tokenizers import Tokenizer

        backend = getattr(tokenizer, "backend_tokenizer", None)
        if not isinstance(backend, Tokenizer):
            raise ConfigurationError(
                "backbone: its tokenizer has no tokenizer.json; convert it to a fast tokenizer first"
            )
        self.tokenizer = tokenizer
        # A private copy in which special tokens are plain text, and so are turn markers that their makers did not
        # flag as special; no truncation, no padding.
        specification = json.loads(backend.to_str())
        markers = [t for t in specification["added_tokens"] if t["special"] or _is_marker(t["content"])]
        self._special = frozenset(tokenizer.all_special_ids) | {t["id"] for t in markers if t["special"]}
        self._never_content = self._special | {t["id"] for t in markers}
        for token in markers:
            token["special"] = True
        self._plain = Tokenizer.from_str(json.dumps(specification))
        self._plain.encode_special_tokens = True
        self._plain.no_truncation()
        self._plain.no_padding()
        self.has_template = bool(tokenizer.chat_template)
        self._prefix, self._suffix = self._template_parts()
        # Tokenizers like LLaMA 2's put a space before a text by themselves.
        own_space = self.encode("x a") == self.encode("x") + self.encode("a")
        self._before_answer = "" if self.has_template or own_space else " "

    def _template_parts(self) -> tuple[list[int], list[int]]:
        if not self.has_template:
            bos = self.tokenizer.bos_token_id
            return ([] if bos is None else [bos]), []
        rendered = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": _SENTINEL}],
            tokenize=False,
            add_generation_prompt=True,
            chat_template=_SAME_DAY + self.tokenizer.get_chat_template(),
        )
        before, found, after = str(rendered).partition(_SENTINEL)
        if not found:
            raise ConfigurationError(
                "backbone: its chat template drops the user's message; use a model with a usual template"
            )
        return (
            list(self.tokenizer(before, add_special_tokens=False)["input_ids"]),
            list(self.tokenizer(after, add_special_tokens=False)["input_ids"]),
        )

    @property
    def end_ids(self) -> frozenset[int]:
        """Token ids that end an answer: any special token does."""
        return self._special

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: no special token, no turn marker, no beginning-of-sequence mark."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids if self._never_content.isdisjoint(ids) else [i for i in ids if i not in self._never_content]

    def encode_turn(self, content: str) -> list[int]:
        """Token ids of a user turn with `content`, up to where the assistant's answer begins."""
        return self._prefix + self.encode(content) + self._suffix

    def encode_answer(self, title: str) -> list[int]:
        """Token ids of `title` as the answer that follows `encode_turn` (after one space where there is no chat template)."""
        return self.encode(self._before_answer + title)

    def decode(self, ids: list[int]) -> str:
        """Text of generated ids, special tokens left out, spaces kept as they are."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def cut(self, text: str, tokens: int) -> str:
        """The longest prefix of `text`, whole characters without trailing space, that its first `tokens` tokens hold."""
        return self.cutter(text)(tokens)

    def cutter(self, text: str) -> Callable[[int], str]:
        """`cut` for one text and any number of tokens, the text encoded once."""
        offsets = self._plain.encode(text, add_special_tokens=False).offsets

        def cut(tokens: int) -> str:
            if len(offsets) <= tokens:
                return text
            if tokens <= 0:
                return ""
            # A character of several tokens is inside the offsets of each: it counts only once the next token is past it.
            end = min(offsets[tokens - 1][1], offsets[tokens][0])
            return text[:end].rstrip()

        return cut


def _is_marker(token: str) -> bool:
    return token[:1] in ("<", "[") and token[-1:] in (">", "]")

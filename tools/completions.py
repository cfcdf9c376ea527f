"""A text from an OpenAI-compatible server, written greedily: `/completions` of token ids, `/chat/completions` of a message."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from webrec.errors import BackboneError, ConfigurationError, SearchError
from webrec.tools.providers.http_json import request_json
from webrec.tools.searching.retry import with_retries
from webrec.tools.text_safety import service_address

KEY_VARIABLE = "WEBREC_DECODER_KEY"
KEY_ADDRESS_VARIABLE = "WEBREC_DECODER_KEY_URL"
"""Where the key may be sent: settings of a served graph come from its callers, who must not have the key sent to themselves."""
ATTEMPTS = 3
MOST_CHARACTERS = 50
"""Of a text, for each token that was asked for."""

_NAME = "the decoder (decoder_url)"
_GREEDY = {"temperature": 0, "top_p": 1, "presence_penalty": 0, "frequency_penalty": 0, "n": 1, "stream": False}
_MEANINGS = {
    400: "refused the request (HTTP 400); prompt and answer may exceed its context, or it may not know decoder_model",
    404: "has nothing at that address, or no such model (HTTP 404); give decoder_url up to and with /v1, and check decoder_model",
    405: "takes no such request at that address (HTTP 405); give decoder_url up to and with /v1",
    422: "refused the request (HTTP 422); it may not take token ids: try decoder_api=chat",
}


class DecoderSettings(Protocol):
    """Fields of `DecoderConfig` (`webrec.models.config`)."""

    @property
    def decoder_url(self) -> str | None:
        """The server's address."""

    @property
    def decoder_model(self) -> str | None:
        """The model's name there."""

    @property
    def decoder_api(self) -> Literal["completions", "chat"]:
        """Which of its two ways is used."""

    @property
    def decoder_seconds(self) -> float:
        """Longest wait, retries included."""


@dataclass(frozen=True)
class Written:
    """What the server wrote. `ids`: its tokens, where it tells them. `ended`: whether by itself, not at the limit."""

    text: str
    ids: list[int] | None
    ended: bool


def decoder_address(settings: DecoderSettings) -> str | None:
    """The server's address without a slash at its end, None without a decoder; `ConfigurationError` if it is no plain one."""
    if settings.decoder_url is None:
        return None
    address = service_address(settings.decoder_url)
    if not address:
        raise ConfigurationError(
            "decoder_url: is no plain http or https address; give it like http://127.0.0.1:8080/v1, without user name, "
            f"password, query or fragment (a key goes into {KEY_VARIABLE})"
        )
    return address


async def complete(settings: DecoderSettings, prompt: Sequence[int], message: str, limit: int) -> Written:
    """What the server writes, at most `limit` tokens, after the token ids `prompt`, or in answer to `message`.

    Tried again, three times in all, only where that can help: the connection failed, HTTP 429, 500, 502, 503, 504. Raises
    `ConfigurationError` for an address that is none, `BackboneError` in one sentence for every answer that cannot be used.
    """
    address = decoder_address(settings)
    if address is None:
        raise ConfigurationError("decoder_url: it is not set; give the address of an OpenAI-compatible server")
    chat = settings.decoder_api == "chat"
    body: dict[str, Any] = {"max_tokens": limit, **_GREEDY}
    if settings.decoder_model is not None:
        body["model"] = settings.decoder_model
    if chat:
        body["messages"] = [{"role": "user", "content": message}]
    else:
        # Not of OpenAI's own interface, and passed over by servers that do not know them: vLLM's name for the text's token ids, and
        # the penalty that vLLM takes from a model's generation configuration unless it is told otherwise.
        body |= {"prompt": list(prompt), "return_token_ids": True, "repetition_penalty": 1}

    async def call() -> dict[str, Any]:
        return await request_json(
            _NAME,
            "POST",
            f"{address}/{'chat/completions' if chat else 'completions'}",
            meanings=_MEANINGS,
            headers=_headers(address),
            json=body,
        )

    seconds = settings.decoder_seconds
    try:
        tried = await with_retries(
            call, attempts=ATTEMPTS, total_seconds=seconds, attempt_seconds=seconds, name=_NAME, limit="decoder_seconds"
        )
    except SearchError as error:
        raise BackboneError(f"{error}; no reasoning was written{_key_note(address)}") from None
    return _read(tried.value, chat, len(prompt), limit)


def _headers(address: str) -> dict[str, str]:
    key = os.environ.get(KEY_VARIABLE, "").strip()
    return {"Authorization": f"Bearer {key}"} if key and _may_have_key(address) else {}


def _may_have_key(address: str) -> bool:
    return service_address(os.environ.get(KEY_ADDRESS_VARIABLE, "")) == address


def _key_note(address: str) -> str:
    unsent = os.environ.get(KEY_VARIABLE, "").strip() and not _may_have_key(address)
    return f" ({KEY_VARIABLE} was not sent: {KEY_ADDRESS_VARIABLE} must hold the same address)" if unsent else ""


def _read(answer: dict[str, Any], chat: bool, prompt_tokens: int, limit: int) -> Written:
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise BackboneError(f"{_NAME} answered JSON without choices; give the address of an OpenAI-compatible server")
    message = choice.get("message")
    text = message.get("content") if chat and isinstance(message, dict) else None if chat else choice.get("text")
    if not isinstance(text, str):
        raise BackboneError(f"{_NAME} answered without text; use a model that answers in plain text")
    if len(text) > max(MOST_CHARACTERS * limit, 1000):
        raise BackboneError(f"{_NAME} answered {len(text):,} characters where {limit:,} tokens were asked for")
    finish = choice.get("finish_reason")
    if finish not in {"stop", "length"}:
        shown = (
            finish if isinstance(finish, str) and finish.isidentifier() and len(finish) <= 40 else "an unknown reason"
        )
        raise BackboneError(f"{_NAME} stopped writing for {shown}, not at an end or the limit of tokens")
    usage = answer.get("usage")
    seen = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    if not chat and isinstance(seen, int) and seen != prompt_tokens:
        raise BackboneError(
            f"{_NAME} read {seen:,} prompt tokens where {prompt_tokens:,} were sent; give it a longer context, or use decoder_api=chat"
        )
    return Written(text, None if chat else _token_ids(choice.get("token_ids")), finish == "stop")


def _token_ids(value: Any) -> list[int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(type(i) is int and i >= 0 for i in value):
        raise BackboneError(f"{_NAME} answered token_ids that are no list of token ids")
    return value

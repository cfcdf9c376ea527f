"""The head as a component: attach it to a LLaMA, train it, save it, load it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from webrec.errors import ConfigurationError
from webrec.models.mp_head.attach import NODE_MASK, attention_hook, label_hook, measuring_hook, prompt_hook
from webrec.models.mp_head.config import HeadShape, MPHeadConfig
from webrec.models.mp_head.files import HeadFiles, fetch_folder, push_folder, read_head, write_head
from webrec.models.mp_head.layer import HeadLayer
from webrec.models.mp_head.standardise import Moments
from webrec.models.mp_head.task import TaskFeature, soft_prompt


class MPHead(nn.Module):
    """A message-passing head for one or more layers of a LLaMA.

    `MPHead(config, llama.config).attach(model)` adds it; a new head changes no output until its gate has been trained.
    """

    def __init__(self, config: MPHeadConfig, llama_config: Any) -> None:
        """Random weights, gate 0. Takes a transformers configuration, or the `HeadShape` of one."""
        super().__init__()
        self.config = config
        self.shape = llama_config if isinstance(llama_config, HeadShape) else HeadShape.of(llama_config)
        self.task = TaskFeature(self.shape.hidden)
        self.layers = nn.ModuleDict({str(n): HeadLayer(config, self.shape, self.task) for n in config.layers})
        self._loaded = False
        self._hooks: list[Any] = []
        self._attentions: list[nn.Module] = []

    @property
    def attached(self) -> bool:
        """Whether a model carries this head now."""
        return bool(self._hooks)

    def gates(self) -> list[nn.Parameter]:
        """The gate of each layer."""
        return [layer.gate for layer in self._head_layers().values()]

    def _head_layers(self) -> dict[int, HeadLayer]:
        return {int(name): layer for name, layer in self.layers.items() if isinstance(layer, HeadLayer)}

    def _repeated(self) -> set[str]:
        """Names under which the layers show the task feature they share."""
        return {f"layers.{name}.task.z" for name in self.layers}

    def attach(self, model: Any) -> MPHead:
        """Add the head to `model`, a `LlamaForCausalLM` or a PEFT model of one; returns the head.

        Its parameters move to the device of their layer and stay float32. The task feature follows what is fine-tuned
        in `model`; a loaded head without anything fine-tuned keeps the feature it was saved with. Raises
        `ConfigurationError` where nothing is fine-tuned for a new head, or where sizes or layers do not fit.
        """
        if self.attached:
            raise ConfigurationError("head: it is attached to a model already; detach it first")
        llama = llama_of(model)
        decoder = llama.model
        self.check_fit(llama)
        attentions = {number: decoder.layers[number].self_attn for number in self.config.layers}
        if any(hasattr(attention, "mp_head") for attention in attentions.values()):
            raise ConfigurationError("head: another one is attached to the same layer; detach that first")
        self.task.to(llama.device)
        if self.config.needs_task and not self.task.follow(model) and not self._loaded:
            raise ConfigurationError(
                "head: nothing is fine-tuned in this model, so there is no task feature; attach it to a PEFT model "
                "(LoRA or prompt tuning), or set task_feature to zero"
            )
        for number, attention in attentions.items():
            head = self._head_layers()[number]
            head.to(attention.q_proj.weight.device)
            attention.mp_head = head
            self._hooks.append(attention.register_forward_hook(attention_hook(number), with_kwargs=True))
        embedding = soft_prompt(model)
        virtual = 0 if embedding is None else embedding.num_embeddings
        self._hooks.append(decoder.register_forward_pre_hook(prompt_hook(decoder, virtual), with_kwargs=True))
        for outer in {id(m): m for m in (llama, model)}.values():  # PEFT's LoRA calls past the hooks of the inner one
            self._hooks.append(outer.register_forward_pre_hook(label_hook(outer, llama), with_kwargs=True))
        self._attentions = list(attentions.values())
        self.train(llama.training)
        return self

    @torch.no_grad()
    def measure(self, model: Any, prompts: Iterable[Sequence[int]]) -> MPHead:
        """Measure what `standardise` shifts and scales by on `prompts` (token ids); returns the head.

        `model`: the one that carries this head; a PEFT model with its soft prompt, whose own tokens are not counted. To be called once,
        before training: whoever trains with `webrec train` need not. Some dozens of prompts are enough. Raises
        `ConfigurationError` where the head is not attached or does not standardise, `ValueError` without prompts.
        """
        if not self.attached or not self.config.standardise:
            missing = "attach it to a model first" if self.config.standardise else "set standardise"
            raise ConfigurationError(f"head: it measures nothing; {missing}")
        decoder = llama_of(model).model
        embedding = soft_prompt(model)
        virtual = torch.zeros(0, self.shape.hidden) if embedding is None else embedding.weight
        moments = {number: (Moments(), Moments()) for number in self.config.layers}
        hooks = [
            decoder.layers[number].self_attn.register_forward_hook(
                measuring_hook(*both, len(virtual)), with_kwargs=True
            )
            for number, both in moments.items()
        ]
        training = decoder.training
        decoder.eval()
        try:
            for prompt in prompts:
                words = decoder.embed_tokens(torch.tensor(list(prompt), device=decoder.embed_tokens.weight.device))
                given = torch.cat([virtual.to(words), words])[None]
                mask = torch.arange(given.shape[1], device=words.device)[None] >= len(virtual)
                decoder(inputs_embeds=given, use_cache=False, **{NODE_MASK: mask})
        finally:
            decoder.train(training)
            for hook in hooks:
                hook.remove()
        for number, (of_nodes, of_queries) in moments.items():
            layer = self._head_layers()[number]
            assert layer.given is not None
            assert layer.asked is not None
            layer.given.set(of_nodes)
            layer.asked.set(of_queries)
        return self

    def check_fit(self, llama: Any) -> None:
        """Raise `ConfigurationError` if sizes or number of layers of `llama` are not those of this head."""
        if (shape := HeadShape.of(llama.config)) != self.shape:
            raise ConfigurationError(
                f"head: it was made for {self.shape}, and the backbone has {shape}; use the backbone it was trained with"
            )
        if (last := max(self.config.layers)) >= len(llama.model.layers):
            raise ConfigurationError(f"layers: {last} is outside the backbone; use 0 to {len(llama.model.layers) - 1}")

    def detach(self) -> None:
        """Take the head off its model, which then computes what it did without it, bit for bit."""
        for hook in self._hooks:
            hook.remove()
        for attention in self._attentions:
            del attention.mp_head
        self._hooks, self._attentions = [], []
        self.task.unfollow()

    def save_pretrained(self, folder: str | Path, *, with_peft: bool = False) -> None:
        """Write `adapter_config.json` and `adapter_model.safetensors` into `folder`, made if need be.

        `with_peft`: whether what was trained with it is saved beside it, and belongs to it.
        """
        self.task.refresh()
        tensors = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.state_dict().items()
            if name not in self._repeated()
        }
        write_head(Path(folder), HeadFiles(self.config, self.shape, tensors, version("webrec"), with_peft))

    @classmethod
    def from_pretrained(cls, name: str | Path, revision: str | None = None) -> MPHead:
        """The head in a folder, or in a hub repository at `revision`, in evaluation mode and not attached.

        Raises `ConfigurationError` for a folder that holds none, or one this version cannot read.
        """
        files = read_head(fetch_folder(str(name), revision))
        head = cls(files.config, files.shape)
        expected = {n: t.shape for n, t in head.state_dict().items() if n not in head._repeated()}
        if expected != (found := {n: t.shape for n, t in files.tensors.items()}):
            wrong = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
            raise ConfigurationError(
                f"adapter: tensors of {name} do not fit its settings ({', '.join(wrong[:3])}); save it again"
            )
        head.load_state_dict(files.tensors, strict=False)
        head._loaded = True
        return head.eval()

    def push_to_hub(self, repo_id: str, *, private: bool | None = None, token: str | None = None) -> str:
        """Save to a hub repository, made if need be; returns the address of the commit."""
        return push_folder(self.save_pretrained, repo_id, private=private, token=token)


def llama_of(model: Any) -> Any:
    """The causal LM inside a PEFT model, or `model` itself."""
    llama = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = getattr(getattr(llama, "model", None), "layers", None)
    if not isinstance(layers, nn.ModuleList) or not hasattr(layers[0].self_attn, "q_proj"):
        raise ConfigurationError(f"head: {type(llama).__name__} is not built like a LLaMA; give a LlamaForCausalLM")
    assert isinstance(llama, nn.Module)
    return llama


@torch.no_grad()
def set_gates(head: MPHead, value: float) -> None:
    """Set every gate, e.g. to look at what an untrained head would add."""
    for gate in head.gates():
        gate.fill_(value)

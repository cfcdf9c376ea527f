"""The attention head written out from its equations: one row, float64, plain loops and dense matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, sqrt

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from webrec.models.mp_head.config import MPHeadConfig

Array = NDArray[np.float64]
NORM_FLOOR, NO_EDGE, RMS_EPS = 1e-8, 1e-6, 1e-6


@dataclass(frozen=True)
class Reference:
    """What the head computes for one row: N tokens, `kept` in the order of their index, T queries."""

    entities: Array  # (N, 2d): (10), and for the pairwise head e⁰
    cosine: Array  # (N,): (11); empty where nothing is selected
    kept: list[int]  # T_k: (12)
    states: dict[int, Array]  # of the kept nodes, after the last hop
    output: Array  # (T, hidden)


def run_reference(
    config: MPHeadConfig, weights: Mapping[str, Tensor], z: Tensor, qkv: Sequence[Tensor], node_mask: Sequence[bool]
) -> Reference:
    """From (T, d) queries, (N, kv·d) keys and values; `weights` is the head layer's state dict."""
    w = {name: array(value) for name, value in weights.items()}
    query, key, value = (array(tensor) for tensor in qkv)
    nodes = [i for i, is_node in enumerate(node_mask) if is_node]
    if config.standardise:
        joined = (np.concatenate([key, value], 1) - w["given.mean"]) / w["given.scale"]
        key, value = np.split(joined, [key.shape[1]], 1)
        query = (query - w["asked.mean"]) / w["asked.scale"]
    entities = np.stack([w["entity.weight"] @ np.concatenate([k, v]) for k, v in zip(key, value, strict=True)])
    entities = entities + w["entity.bias"]
    if config.kind == "pairwise":
        entities = np.stack([rms_norm(e) for e in entities])
    cosine, u = np.zeros(0), np.zeros(entities.shape[1])
    kept = nodes
    if config.kind != "linear" or config.top_k is not None:
        task = array(z) * (config.task_feature == "tuned")
        u = w["relevance.weight"] @ task + w["relevance.bias"]
        cosine = np.array([cos(u, e) for e in entities])
        kept = sorted(sorted(nodes, key=lambda i: (-cosine[i], i))[: config.top_k])
    first = {i: entities[i] for i in kept}
    if config.kind == "linear":
        states = linear(config, w, first)
    elif config.kind == "literal":
        states = literal(config, w, first, {i: cosine[i] for i in kept})
    else:
        states = pairwise(config, w, first, {i: cosine[i] for i in kept}, u)
    output = np.stack([w["gate"] * (w["output.weight"] @ read_out(q, states)) for q in query])
    return Reference(entities, cosine, kept, states, output)


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().cpu().numpy()


def rms_norm(x: Array) -> Array:
    return x / np.sqrt((x * x).mean() + RMS_EPS)


def cos(u: Array, e: Array) -> float:
    return float(u @ e) / (max(norm(u), NORM_FLOOR) * max(norm(e), NORM_FLOOR))


def norm(x: Array) -> float:
    return sqrt(float(x @ x))


def hops(config: MPHeadConfig, w: Mapping[str, Array]) -> list[tuple[Array, Array]]:
    return [(w[f"messages.hops.{h}.weight"], w[f"messages.hops.{h}.bias"]) for h in range(config.hops)]


def linear(config: MPHeadConfig, w: Mapping[str, Array], e: dict[int, Array]) -> dict[int, Array]:
    for w_m, b_m in hops(config, w):
        e = {i: w_m @ e_i + b_m for i, e_i in e.items()}
    return e


def relations(c: Mapping[int, float], self_loops: bool) -> dict[tuple[int, int], float]:
    """(12): `r_ij = max(0, c_i c_j)`, every pair of kept nodes."""
    c = {i: 0.0 if abs(c_i) < NO_EDGE else c_i for i, c_i in c.items()}
    return {(i, j): max(0.0, c[i] * c[j]) if self_loops or i != j else 0.0 for i in c for j in c}


def literal(
    config: MPHeadConfig, w: Mapping[str, Array], e: dict[int, Array], c: Mapping[int, float]
) -> dict[int, Array]:
    """(13), (15): the relations are those of the first entities in every hop."""
    r = relations(c, config.self_loops)
    degree = {i: sum(r[i, j] for j in e) for i in e}
    for w_m, b_m in hops(config, w):
        messages = {}
        for i in e:
            messages[i] = b_m.copy()
            for j in e:
                if r[i, j] > 0:
                    messages[i] += r[i, j] / sqrt(degree[i] * degree[j]) * (w_m @ e[j])
        e = messages
    return e


def pairwise(
    config: MPHeadConfig, w: Mapping[str, Array], e: dict[int, Array], c: Mapping[int, float], u: Array
) -> dict[int, Array]:
    width = len(u)  # 2d
    tau = sqrt(width) * u / max(norm(u), NORM_FLOOR) if config.task_scale else np.ones(width)
    beta = float(w["messages.beta"]) if config.relevance_bias else 0.0
    mix: dict[int, dict[int, float]] = {}
    for i in e:
        if config.mixing == "identity":
            mix[i] = {j: float(i == j) for j in e}
        elif config.mixing == "uniform":
            mix[i] = {j: 1 / len(e) for j in e}
        else:
            a = w["messages.source.weight"] @ (tau * e[i])
            b = {j: w["messages.target.weight"] @ (tau * e[j]) for j in e}
            mix[i] = softmax({j: float(a @ b[j]) / sqrt(width / 4) + beta * c[j] for j in e})
    depth = w["messages.depth"] if config.learned_depth else np.zeros(config.hops + 1)
    alpha = softmax(dict(enumerate(depth.tolist())))
    total = {i: alpha[0] * e_i for i, e_i in e.items()}
    for h, (w_m, b_m) in enumerate(hops(config, w), start=1):
        e = {i: e[i] + w_m @ sum(mix[i][j] * rms_norm(e[j]) for j in e) + b_m for i in e}
        total = {i: total[i] + alpha[h] * e[i] for i in e}
    return total


def softmax(scores: Mapping[int, float]) -> dict[int, float]:
    top = max(scores.values(), default=0.0)
    powers = {j: exp(score - top) for j, score in scores.items()}
    total = sum(powers.values())
    return {j: power / total for j, power in powers.items()}


def read_out(q: Array, states: Mapping[int, Array]) -> Array:
    """(14), (16): 0 where no node is kept."""
    d = len(q)
    weights = softmax({i: float(q @ e[:d]) / sqrt(d) for i, e in states.items()})
    out = np.zeros(d)
    for i, e in states.items():
        out += weights[i] * e[d:]
    return out


def soft_prompt_feature(virtual: Tensor) -> Array:
    """Of (virtual tokens, hidden)."""
    return rms_norm(array(virtual).mean(0))


def lora_feature(pairs: Sequence[tuple[Tensor, Tensor]]) -> Array:
    """Of (A, B) of each adapted module whose input is the hidden state: (ranks, hidden) and (out, ranks)."""
    rows = []
    for a, b in pairs:
        for rank in range(a.shape[0]):
            column = array(b)[:, rank]
            rows.append((1 + float(column @ column)) * array(a)[rank])
    return rms_norm(np.stack(rows).mean(0))

"""Likeness that is learned: it finds what follows what, of items that nobody took as well, and goes on where it was stopped."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from webrec.errors import ConfigurationError, TrainingError
from webrec.eval.data.dataset import Item, RankingExample, TrainingData
from webrec.eval.systems import learned_similarity
from webrec.eval.systems.epoch_checkpoint import CURVE, forget
from webrec.eval.systems.learned_similarity import LearnedSimilaritySystem
from webrec.eval.systems.similarity_network import SimilarityNetwork

from .contract import EXAMPLES, TRAINING, SystemContract, chain, keeps_the_best_epoch, learns_what_follows_what, ndcg


class Hashed:
    """A unit vector for each text, by its characters: texts with nothing in common have nothing in common."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(texts, 32)."""
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode())).normal(size=32) for text in texts]
        return np.stack([row / np.linalg.norm(row) for row in rows]).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def encoder() -> Iterator[Hashed]:
    hashed = Hashed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned_similarity, "get_sentence_encoder", lambda _: hashed)
        patch.setattr(learned_similarity, "open_content_store", lambda: None)
        yield hashed


def small(texts: dict[str, str] | None = None, **settings: Any) -> LearnedSimilaritySystem:
    return LearnedSimilaritySystem(texts, **{"epochs": 2, "batch": 64, "negatives": 32, **settings})


class TestLearnedSimilarity(SystemContract):
    make = staticmethod(small)


class TestOfPages(SystemContract):
    make = staticmethod(lambda: small({"i03": "A page."}))


def test_it_learns_what_follows_what() -> None:
    learns_what_follows_what(small(epochs=40, learning_rate=5e-3))


def kinds(seed: int = 0) -> tuple[TrainingData, list[RankingExample]]:
    """Whoever takes something of kind k takes of kind k + 1 next; the examples' targets were taken by nobody in training."""
    rng = np.random.default_rng(seed)
    items = {f"{kind}-{n}": Item(f"{kind}-{n}", f"{kind}-{n}") for kind in range(6) for n in range(12)}
    sequences = {
        f"u{user}": tuple(f"{(start + step) % 6}-{rng.integers(8)}" for step in range(6))
        for user, start in enumerate(rng.integers(6, size=120).tolist())
    }
    examples = []
    for number in range(60):
        kind = int(rng.integers(6))
        target = f"{(kind + 1) % 6}-{8 + int(rng.integers(4))}"
        others = [f"{k}-{8 + n}" for k in range(6) for n in range(4) if k != (kind + 1) % 6][:19]
        examples.append(RankingExample(f"u{number}#0", f"u{number}", 0, (f"{kind}-0",), (target, *others), target))
    return TrainingData(items, sequences, {}), examples


def test_what_nobody_took_is_known_by_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    class Kinds(Hashed):
        def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            rows = np.stack([np.eye(6)[int(text[0])] for text in texts]) + 0.3 * Hashed().encode(texts)[:, :6]
            return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    monkeypatch.setattr(learned_similarity, "get_sentence_encoder", lambda _: Kinds())
    training, examples = kinds()
    system = small(epochs=30, learning_rate=5e-3)
    system.fit(training, 0)
    assert ndcg(system, examples) > 0.8


def test_an_item_that_nobody_took_has_nothing_beside_its_text() -> None:
    vectors, taken = Hashed().encode([f"t{n}" for n in range(6)]), np.arange(6) < 4
    with_offsets, without = SimilarityNetwork(vectors, 2, taken), SimilarityNetwork(vectors, 2, None)
    with torch.no_grad():
        for offsets in (with_offsets.key_offsets, with_offsets.value_offsets):
            assert offsets is not None
            offsets.copy_(torch.randn(6, 32))
    given, plain = with_offsets.learned(), without.learned()
    assert np.array_equal(given.values[4:], plain.values[4:])
    assert np.array_equal(given.keys[4:], plain.keys[4:])
    assert (np.abs(given.values[:4] - plain.values[:4]).max(1) > 0.05).all()


def test_unsold_items_are_not_all_alike() -> None:
    """Beside items that are taken, one that nobody took is ranked by its text, not put last for being unsold."""
    system = small(epochs=30, learning_rate=5e-3)
    training, _ = chain(users=60, items=40)
    unsold = {f"new{n}": Item(f"new{n}", f"Brand new {n}") for n in range(10)}
    system.fit(replace(training, items={**training.items, **unsold}), 0)
    assert system.learned is not None
    values = system.learned.values[[system._numbers[item] for item in unsold]]
    apart = values @ values.T - np.eye(10)
    assert apart.sum() / 90 < 0.2, "no direction of their own"


@pytest.mark.parametrize("offsets", [True, False])
def test_on_several_threads_it_is_the_same(offsets: bool) -> None:
    made = []
    for _ in range(3):
        system = small(epochs=2, threads=2, offsets=offsets)
        system.fit(TRAINING, 0)
        made.append(system.rank_many(EXAMPLES))
    assert made[0] == made[1] == made[2]


def test_the_loss_is_the_equation_in_float64() -> None:
    torch.manual_seed(3)
    network = SimilarityNetwork(Hashed().encode([f"t{n}" for n in range(20)]), 3, np.arange(20) < 15)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    network.eval()  # an offset's dropout would draw, too
    pieces = [((1, 2, 3, 4), 5), ((6,), 7)]
    state = torch.random.get_rng_state()
    loss = network.loss(pieces, 9, 0.0)
    torch.random.set_rng_state(state)
    network._steps(pieces, 0.0)  # draws first
    drawn = torch.randint(0, 20, (9,)).tolist()
    learned, total = network.learned(), 0.0
    for past, target in pieces:
        asked = [target, *(n for n in drawn if n != target)]
        scores = learned.scores(np.array(past), np.array(asked))
        total -= scores[0] - math.log(sum(math.exp(score) for score in scores))
    assert loss.item() == pytest.approx(total / 2, rel=1e-5)


def test_an_untrained_network_compares_the_embeddings() -> None:
    vectors = Hashed().encode([f"t{n}" for n in range(8)])
    apart = vectors - vectors.mean(0)
    apart /= np.linalg.norm(apart, axis=1, keepdims=True)
    learned = SimilarityNetwork(vectors, 1, np.ones(8, bool)).learned()
    found = learned.scores(np.array([2]), np.arange(8))
    assert found.tolist() == pytest.approx((10 * apart @ apart[2]).tolist(), abs=1e-4)


def test_texts_alone_are_mapped_as_items_are_that_nobody_took() -> None:
    vectors = Hashed().encode([f"t{n}" for n in range(40)])
    network = SimilarityNetwork(vectors, 3, np.arange(40) < 30)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    learned = network.learned()
    assert learned.maps is not None
    assert learned.maps.keys(vectors[30:]) == pytest.approx(learned.keys[30:], abs=1e-4)
    assert learned.maps.values(vectors[30:]) == pytest.approx(learned.values[30:], abs=1e-4)
    assert np.abs(learned.maps.keys(vectors[:30]) - learned.keys[:30]).max() > 0.1


def test_dropout_leaves_the_last_item() -> None:
    network = SimilarityNetwork(Hashed().encode([f"t{n}" for n in range(9)]), 3, None)
    owner, item, age = network._steps([((1, 2, 3, 4), 5), ((6,), 7)], 0.999999)
    assert (owner.tolist(), item.tolist(), age.tolist()) == ([0, 1], [4, 6], [0, 0])
    owner, item, age = network._steps([((1, 2, 3, 4), 5), ((6,), 7)], 0.0)
    assert (owner.tolist(), item.tolist(), age.tolist()) == ([0, 0, 0, 1], [4, 3, 2, 6], [0, 1, 2, 0])


def test_pages_stand_behind_titles(encoder: Hashed) -> None:
    first = next(iter(TRAINING.items))
    encoder.asked.clear()
    small({first: "Soft soap."}, epochs=1).fit(TRAINING, 0)
    assert f"{TRAINING.items[first].title} Soft soap." in encoder.asked
    assert TRAINING.items[first].title not in encoder.asked
    assert len(encoder.asked) == len(TRAINING.items)


def test_the_best_epoch_is_kept_and_training_stops() -> None:
    keeps_the_best_epoch(small(epochs=200, patience=2, learning_rate=0.05), 200)


KILLED = """
import json, os, sys
sys.path.insert(0, {root!r})
from webrec.eval.systems import epoch_checkpoint, learned_similarity
from tests.eval.systems.test_learned_similarity import EXAMPLES, TRAINING, Hashed, small
learned_similarity.get_sentence_encoder = lambda _: Hashed()
learned_similarity.open_content_store = lambda: None
keep = epoch_checkpoint.Checkpoint.keep
def kept(self, network, optimiser, best, curve):
    if len(curve) == {epoch} and {before}: os.kill(os.getpid(), 9)
    keep(self, network, optimiser, best, curve)
    if len(curve) == {epoch}: os.kill(os.getpid(), 9)
epoch_checkpoint.Checkpoint.keep = kept
small(epochs=4, folder={folder!r}).fit(TRAINING, 3, EXAMPLES)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "before"), [(1, True), (2, False), (3, True)])
def test_a_killed_training_ends_with_the_same_scores(tmp_path: Path, epoch: int, before: bool) -> None:
    folder = tmp_path / "run"
    root = str(Path(__file__).parents[3])
    code = KILLED.format(root=root, epoch=epoch, before=before, folder=str(folder))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    whole, resumed = small(epochs=4), small(epochs=4, folder=folder)
    whole.fit(TRAINING, 3, EXAMPLES)
    resumed.fit(TRAINING, 3, EXAMPLES)
    assert resumed.rank_many(EXAMPLES) == whole.rank_many(EXAMPLES)
    assert [(e.loss, e.validation) for e in resumed.curve] == [(e.loss, e.validation) for e in whole.curve]


def test_a_folder_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    small(epochs=1, folder=tmp_path).fit(TRAINING, 0)
    for system, training, seed in (
        (small(epochs=1, folder=tmp_path, dropout=0.5), TRAINING, 0),
        (small({"i03": "A page."}, epochs=1, folder=tmp_path), TRAINING, 0),
        (small(epochs=1, folder=tmp_path), chain(users=30)[0], 0),
        (small(epochs=1, folder=tmp_path), TRAINING, 1),
    ):
        with pytest.raises(ConfigurationError, match="holds a training on other data or with other settings"):
            system.fit(training, seed)
    assert json.loads((tmp_path / CURVE).read_text())["curve"]


def test_a_folder_that_is_damaged_or_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"cannot be written \(.*\); make room, or give another folder"):
        small(epochs=1, folder=tmp_path / "file" / "below").fit(TRAINING, 0)
    folder = tmp_path / "run"
    small(epochs=1, folder=folder).fit(TRAINING, 0)
    for path, content in ((folder / "epoch-1.safetensors", b"cut"), (folder / CURVE, b"{")):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="is damaged; remove it to train again"):
            small(epochs=1, folder=folder).fit(TRAINING, 0)
    (folder / "other.txt").write_text("kept")
    forget(folder)
    assert [path.name for path in folder.iterdir()] == ["other.txt"]


def test_wrong_input() -> None:
    with pytest.raises(ConfigurationError, match="no user with two items"):
        small().fit(replace(TRAINING, sequences={"u": ("i00",)}), 0)
    system = small(epochs=1)
    system.fit(TRAINING, 0)
    with pytest.raises(ConfigurationError, match="the item zz of an example"):
        system.rank(replace(EXAMPLES[0], history=("zz",)))
    with pytest.raises(TrainingError, match="use a lower learning_rate"):
        small(epochs=30, learning_rate=1e30).fit(TRAINING, 0)

"""SASRec: it learns order, looks at no later item, and goes on where it was stopped."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webrec.errors import ConfigurationError, MissingExtraError, TrainingError
from webrec.eval.systems.epoch_checkpoint import CURVE
from webrec.eval.systems.sasrec import SASRec
from webrec.eval.systems.sasrec_network import build_network, hidden_states, item_vectors, left_padded
from webrec.eval.systems.sasrec_training import batch_loss, windows

from .contract import EXAMPLES, TRAINING, SystemContract, chain, keeps_the_best_epoch, learns_what_follows_what

pytest.importorskip("replay")
import torch


def small(**settings: Any) -> SASRec:
    return SASRec(**{"width": 16, "blocks": 1, "max_length": 10, "epochs": 2, "batch": 16, "dropout": 0.2, **settings})


class TestSASRec(SystemContract):
    make = staticmethod(small)


def test_it_learns_what_follows_what() -> None:
    learns_what_follows_what(small(epochs=60, learning_rate=5e-3))


def test_windows_make_every_item_but_the_first_a_target_once() -> None:
    sequences = [list(range(n)) for n in (1, 2, 10, 11, 12, 33)]
    pieces = windows(sequences, 10)
    assert all(2 <= len(piece) <= 11 for piece in pieces)
    for sequence in sequences:
        own = [piece for piece in pieces if list(piece) == sequence[piece[0] : piece[0] + len(piece)]]
        assert own or len(sequence) == 1
    assert sum(len(piece) - 1 for piece in pieces) == sum(len(s) - 1 for s in sequences)


def network() -> Any:
    torch.manual_seed(0)
    return build_network(30, width=16, blocks=2, heads=2, max_length=10, dropout=0.5).eval()


def test_a_later_item_changes_no_earlier_state() -> None:
    net = network()
    states = hidden_states(net, left_padded([[1, 2, 3, 4, 5]], 30), 30)
    changed = hidden_states(net, left_padded([[1, 2, 3, 9, 8]], 30), 30)
    assert torch.equal(states[:, :3], changed[:, :3])
    assert not torch.allclose(states[:, 3:], changed[:, 3:])


def test_padding_changes_nothing() -> None:
    net = network()
    alone = hidden_states(net, left_padded([[4, 5, 6]], 30), 30)[0, -1]
    beside = hidden_states(net, left_padded([[4, 5, 6], list(range(9))], 30), 30)[0, -1]
    assert torch.allclose(alone, beside, atol=1e-6)
    assert item_vectors(net).shape == (30, 16)


def test_the_loss_is_the_cross_entropy_over_all_items() -> None:
    net, pieces = network(), [[1, 2, 3], [7, 8]]
    total = []
    for piece in pieces:
        states = hidden_states(net, torch.tensor([piece[:-1]]), 30)[0]
        for state, target in zip(states, piece[1:], strict=True):
            total.append(-torch.log_softmax(item_vectors(net) @ state, -1)[target])
    assert batch_loss(net, pieces, 30).item() == pytest.approx(torch.stack(total).mean().item(), rel=1e-5)


KILLED = """
import json, os
from webrec.eval.systems import epoch_checkpoint
keep = epoch_checkpoint.Checkpoint.keep
def kept(self, network, optimiser, best, curve):
    if len(curve) == {epoch} and {before}: os.kill(os.getpid(), 9)
    keep(self, network, optimiser, best, curve)
    if len(curve) == {epoch}: os.kill(os.getpid(), 9)
epoch_checkpoint.Checkpoint.keep = kept
from webrec.eval.systems.sasrec import SASRec
from webrec.eval.data.dataset import Item, RankingExample, TrainingData
told = json.load(open({told!r}))
training = TrainingData({{i: Item(i, i) for i in told["items"]}}, {{u: tuple(s) for u, s in told["sequences"].items()}}, {{}})
examples = [RankingExample(e[0], e[0], 0, tuple(e[1]), tuple(e[2]), e[3]) for e in told["examples"]]
SASRec(width=16, blocks=1, max_length=10, epochs=4, batch=16, dropout=0.2, folder={folder!r}).fit(training, 3, examples)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("epoch", "before"), [(1, True), (2, False), (3, True)])
def test_a_killed_training_ends_with_the_same_scores(tmp_path: Path, epoch: int, before: bool) -> None:
    told = tmp_path / "told.json"
    told.write_text(
        json.dumps(
            {
                "items": list(TRAINING.items),
                "sequences": TRAINING.sequences,
                "examples": [(e.key, e.history, e.candidates, e.target) for e in EXAMPLES],
            }
        )
    )
    folder = tmp_path / "run"
    code = KILLED.format(epoch=epoch, before=before, told=str(told), folder=str(folder))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    whole, resumed = small(epochs=4), small(epochs=4, folder=folder)
    whole.fit(TRAINING, 3, EXAMPLES)
    resumed.fit(TRAINING, 3, EXAMPLES)
    assert resumed.rank_many(EXAMPLES) == whole.rank_many(EXAMPLES)
    assert [(e.loss, e.validation) for e in resumed.curve] == [(e.loss, e.validation) for e in whole.curve]


def test_going_on_gives_the_same_scores(tmp_path: Path) -> None:
    whole = small(epochs=4)
    whole.fit(TRAINING, 3, EXAMPLES)
    part = small(epochs=4, folder=tmp_path)
    part.fit(TRAINING, 3, EXAMPLES)
    # As if it had been stopped after two: the curve is what makes an epoch count.
    fresh = small(epochs=4, folder=tmp_path / "again")
    limited = small(epochs=4, folder=tmp_path / "again")
    stop_after(limited, 2)
    with pytest.raises(KeyboardInterrupt):
        limited.fit(TRAINING, 3, EXAMPLES)
    fresh.fit(TRAINING, 3, EXAMPLES)
    assert fresh.rank_many(EXAMPLES) == part.rank_many(EXAMPLES) == whole.rank_many(EXAMPLES)
    assert len(list((tmp_path / "again").glob("*.safetensors"))) == 1
    finished = small(epochs=4, folder=tmp_path)
    finished.fit(TRAINING, 3, EXAMPLES)  # nothing is trained again
    assert [e.seconds for e in finished.curve] == [e.seconds for e in part.curve]


def stop_after(system: SASRec, epochs: int) -> None:
    value, asked = system._value, []

    def stopping(validation: Any) -> float:
        asked.append(1)
        if len(asked) > epochs:
            raise KeyboardInterrupt
        return value(validation)

    system._value = stopping  # type: ignore[method-assign]


def test_the_best_epoch_is_kept_and_training_stops() -> None:
    keeps_the_best_epoch(small(epochs=40, patience=2, learning_rate=0.05), 40)


def test_a_folder_of_other_data_or_settings_is_refused(tmp_path: Path) -> None:
    small(epochs=1, folder=tmp_path).fit(TRAINING, 0)
    for system, training, seed in (
        (small(epochs=1, folder=tmp_path, width=8), TRAINING, 0),
        (small(epochs=1, folder=tmp_path), chain(users=30)[0], 0),
        (small(epochs=1, folder=tmp_path), TRAINING, 1),
    ):
        with pytest.raises(ConfigurationError, match="holds a training on other data or with other settings"):
            system.fit(training, seed)
    assert json.loads((tmp_path / CURVE).read_text())["curve"]


def test_wrong_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, message in (
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"heads": 3}, "width must be a multiple of heads"),
        ({"dropout": 1.0}, "dropout must be"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            small(**settings)
    with pytest.raises(ConfigurationError, match="no user with two items"):
        small().fit(replace(TRAINING, sequences={"u": ("i00",)}), 0)
    system = small(epochs=1)
    system.fit(TRAINING, 0)
    with pytest.raises(ConfigurationError, match="the item zz of an example"):
        system.rank(replace(EXAMPLES[0], history=("zz",)))
    with pytest.raises(TrainingError, match="use a lower learning_rate"):
        small(epochs=30, learning_rate=1e30).fit(TRAINING, 0)
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("replay"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"webrec\[sasrec\]"):
        small().fit(TRAINING, 0)

"""Saved crowds: what is written comes back, what is damaged is refused, unknown titles stay unknown."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from webrec.errors import ConfigurationError
from webrec.tools.crowd.features import CrowdFeatures
from webrec.tools.crowd.prior import CrowdPrior, Prior, get_prior
from webrec.tools.crowd.records import Records
from webrec.tools.crowd.saved import ITEMS, MODEL, SEQUENCES, SIMILARITY, SavedCrowd, load_crowd, save_crowd

from ...crowds import CROWD, FACTS, RECORDS, TITLES, embedded, learned, with_maps  # noqa: TID252


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    save_crowd(tmp_path / "crowd", CROWD)
    found = load_crowd(tmp_path / "crowd")
    assert list(found.records.facts.values()) == list(FACTS.values())
    numbers = [[found.records.numbers[i] for i in s] for s in found.records.sequences]
    assert numbers == [[0, 1], [0, 1, 2], [3, 0, 1]]
    assert found.records.times == RECORDS.times
    assert CrowdPrior(found).of(["Soap"], TITLES[:4]) == CrowdPrior(CROWD).of(["Soap"], TITLES[:4])
    untimed = SavedCrowd(Records(FACTS, RECORDS.sequences), CROWD.model)
    save_crowd(tmp_path / "untimed", untimed)
    assert not load_crowd(tmp_path / "untimed").records.times


def test_log_odds_are_the_models_against_the_mean_of_the_known() -> None:
    prior = CrowdPrior(CROWD).of([" SOAP ", "Unheard of"], ["Brush", "Nothing known", "Towel"])
    assert prior.known_history == 1
    features = CrowdFeatures(RECORDS)
    places = [features.names.index(name) for name in CROWD.model.names]
    scores = CROWD.model.score(features.of(["x0"], ["x1", "x2"])[:, places])
    assert prior.log_odds[1] is None
    assert [prior.log_odds[0], prior.log_odds[2]] == pytest.approx((scores - scores.mean()).tolist())
    assert (prior.log_odds[0] or 0) > 0
    assert CrowdPrior(CROWD).of(["Soap"], ["Nothing", "known"]).log_odds == [None, None]


def test_of_two_items_with_one_title_the_more_taken_counts() -> None:
    prior = CrowdPrior(CROWD)
    assert prior.of(["Soap"], ["Brush", "Towel"]).log_odds[0] == pytest.approx(
        float(np.ptp(CROWD.model.score(_table(["x1", "x2"]))) / 2)
    )


def test_what_was_learned_is_evidence_and_comes_back(tmp_path: Path) -> None:
    crowd = learned()
    assert crowd.similarity is not None
    found = CrowdPrior(crowd).of(["Soap", "Unheard of", "Cream"], ["Brush", "Nothing known", "Towel"]).log_odds
    features = CrowdFeatures(RECORDS)
    counted = features.of(["x0", "x3"], ["x1", "x2"])[:, features.names.index("next_1")]
    told = crowd.similarity.scores(np.array([0, 3]), np.array([1, 2]))
    scores = 2.0 * counted + 1.5 * told - 0.5 * (told > told[::-1])
    assert [found[0], found[2]] == pytest.approx((scores - scores.mean()).tolist())
    assert found[1] is None
    save_crowd(tmp_path, crowd)
    again = load_crowd(tmp_path)
    assert again.similarity is not None
    assert np.abs(again.similarity.keys - crowd.similarity.keys).max() < 1e-3
    assert CrowdPrior(again).of(["Soap"], TITLES[:4]).log_odds == pytest.approx(
        CrowdPrior(crowd).of(["Soap"], TITLES[:4]).log_odds, abs=0.02
    )
    save_crowd(tmp_path, CROWD)  # over it: what was learned belongs to it no more
    assert load_crowd(tmp_path).similarity is None


def test_titles_that_it_does_not_know_are_read(tmp_path: Path) -> None:
    crowd = with_maps()
    similarity = crowd.similarity
    assert similarity is not None
    assert similarity.maps is not None
    history, candidates = ["Soap", "Unheard of"], ["Brush", "New here", "Towel"]
    found = CrowdPrior(crowd).of(history, candidates, embed=embedded)
    assert (found.known_history, found.by_text) == (1, 1)
    heard_of, new = embedded(["Unheard of"]), embedded(["New here"])

    def unit(row: np.ndarray) -> np.ndarray:
        return row / np.linalg.norm(row)

    keys = np.stack([similarity.keys[0], unit(similarity.maps.key @ (heard_of[0] - similarity.maps.mean))])
    values = [similarity.values[1], unit(similarity.maps.value @ (new[0] - similarity.maps.mean)), similarity.values[2]]
    bias = [similarity.bias[1], similarity.bias[1:3].mean(), similarity.bias[2]]
    ages = similarity.ages[[1, 0]]
    told = np.array(
        [b + np.log(np.exp(ages + similarity.scale * (keys @ v)).sum()) for b, v in zip(bias, values, strict=True)]
    )
    features = CrowdFeatures(RECORDS)
    counted = features.of(["x0"], ["x1", "x2"])[:, features.names.index("next_1")]
    counted = np.array([counted[0], counted.mean(), counted[1]])  # in what is counted, like the mean of the known
    scores = 2.0 * counted + 1.5 * told - 0.5 * (told[:, None] > told[None, :]).sum(1) / 2
    assert found.log_odds == pytest.approx((scores - scores[[0, 2]].mean()).tolist(), abs=1e-4)
    save_crowd(tmp_path, crowd)
    again = CrowdPrior(load_crowd(tmp_path)).of(history, candidates, embed=embedded)
    assert again.log_odds == pytest.approx(found.log_odds, abs=0.02)


def test_where_all_are_new_their_titles_decide() -> None:
    found = CrowdPrior(with_maps()).of(["Soap"], ["One", "Two", "One"], embed=embedded)
    assert found.by_text == 3
    assert found.log_odds[0] == found.log_odds[2] != found.log_odds[1]
    assert sum(odds or 0.0 for odds in found.log_odds) == pytest.approx(0, abs=1e-9)


def test_nothing_is_embedded_where_all_is_known_or_nothing_can_be_read() -> None:
    def never(_: Sequence[str]) -> np.ndarray:
        raise AssertionError

    known = CrowdPrior(with_maps()).of(["Soap"], TITLES[:4], embed=never)
    assert known.log_odds == CrowdPrior(with_maps()).of(["Soap"], TITLES[:4]).log_odds
    for crowd in (learned(), CROWD):  # without maps, and without anything learned
        assert CrowdPrior(crowd).of(["Soap"], ["Brush", "New"], embed=never).log_odds[1] is None
        assert CrowdPrior(crowd).of(["Soap"], ["New", "Newer"], embed=never) == Prior([None, None], 1)
    assert CrowdPrior(with_maps()).of(["Soap"], ["New", "Newer"]) == Prior([None, None], 1)


def test_an_older_crowd_is_gone_before_a_new_one_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_crowd(tmp_path, learned())

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("webrec.tools.crowd.saved.json.dumps", cut)
    with pytest.raises(KeyboardInterrupt):
        save_crowd(tmp_path, CROWD)
    with pytest.raises(ConfigurationError, match=r"holds no crowd\.json"):
        load_crowd(tmp_path)
    monkeypatch.undo()
    save_crowd(tmp_path, CROWD)
    assert not (tmp_path / SIMILARITY).exists()


DAMAGE: dict[str, dict[str, np.ndarray]] = {
    "a shape": {"bias": np.zeros(4)},
    "no rows": {"keys": np.ones((), np.float32)},
    "no number": {"bias": np.full(5, np.nan)},
    "too long": {"keys": np.full((5, 4), 3e38, np.float32), "values": np.full((5, 4), 3e38, np.float32)},
    "too far": {"bias": np.array([1e308, -1e308, 0, 0, 0])},
    "no scale": {"scale": np.array([-5.0])},
    "whole numbers": {"ages": np.zeros(3, np.int64)},
    "a map's shape": {"key_map": np.zeros((4, 3), np.float32)},
    "a map's number": {"value_map": np.full((4, 4), np.inf, np.float32)},
    "whole numbers in a map": {"mean": np.zeros(4, np.int64)},
}


@pytest.mark.parametrize("damage", ["absent", "cut", *DAMAGE])
def test_what_was_learned_and_is_damaged_is_refused(tmp_path: Path, damage: str) -> None:
    save_crowd(tmp_path, with_maps())
    path = tmp_path / SIMILARITY
    tensors = load_file(path)
    if damage == "absent":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        save_file({**tensors, **DAMAGE[damage]}, path)
    with pytest.raises(ConfigurationError, match=r"is damaged; make it again with webrec crowd"):
        load_crowd(tmp_path)


def _table(items: list[str]) -> np.ndarray:
    features = CrowdFeatures(RECORDS)
    return features.of(["x0"], items)[:, [features.names.index(name) for name in CROWD.model.names]]


def test_it_is_counted_once_and_again_when_it_changes(tmp_path: Path) -> None:
    folder = tmp_path / "crowd"
    save_crowd(folder, CROWD)
    first = get_prior(str(folder))
    assert get_prior(str(folder)) is first
    (folder / MODEL).touch()
    assert get_prior(str(folder)) is not first


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (MODEL, None, "holds no crowd.json; give a folder made by webrec crowd"),
        (MODEL, "{}", "is damaged; make it again"),
        (MODEL, '{"format": 99}', "is of format 99 and this is 2"),
        (MODEL, '{"format": 2, "features": {"a": {"weight": NaN, "scale": 1}}}', "is damaged"),
        (MODEL, '{"format": 2, "features": {"mood": {"weight": 1, "scale": 1}}}', "its records have no mood"),
        (ITEMS, '{"title": 3, "brand": null, "categories": [], "year": null}\n', "is damaged"),
        (SEQUENCES, '{"items": [77], "times": null}\n', "is damaged"),
        (SEQUENCES, '{"items": [1, 2], "times": [1]}\n', "is damaged"),
        (SEQUENCES, "no JSON\n", "is damaged"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    save_crowd(tmp_path, CROWD)
    if content is None:
        (tmp_path / name).unlink()
    elif name == MODEL:
        (tmp_path / name).write_text(content)
    else:
        with gzip.open(tmp_path / name, "wt") as file:
            file.write(content)
    with pytest.raises(ConfigurationError, match=message):
        CrowdPrior(load_crowd(tmp_path))


def test_no_user_id_is_written(tmp_path: Path) -> None:
    save_crowd(tmp_path, CROWD)
    with gzip.open(tmp_path / SEQUENCES, "rt") as file:
        told = file.read().splitlines()
    assert [set(json.loads(line)) for line in told] == [{"items", "times"}] * 3

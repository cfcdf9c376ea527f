"""A crowd for `webrec recommend --crowd`: weights fitted on validation targets, then everything that was taken counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from webrec.cache_folder import cache_root
from webrec.errors import ConfigurationError
from webrec.eval.data.build import frozen_examples, in_order
from webrec.eval.data.candidates import Sampling
from webrec.eval.data.config import DataConfig
from webrec.eval.data.filtering import filter_dataset
from webrec.eval.data.source import find_source
from webrec.eval.retrieval.corpus import TEXT
from webrec.eval.systems.epoch_checkpoint import Epoch
from webrec.eval.systems.fused import item_facts, records_of
from webrec.eval.systems.learned_similarity import LearnedSimilaritySystem
from webrec.tools.crowd.choice import fit_choice, with_ranks
from webrec.tools.crowd.features import CrowdFeatures
from webrec.tools.crowd.records import Records
from webrec.tools.crowd.saved import SavedCrowd
from webrec.tools.crowd.similarity import LEARNED


@dataclass(frozen=True)
class Learning:
    """How a learned similarity is made. `folder`: where its epochs are kept until the crowd is saved; `on_epoch` hears of each."""

    folder: Path
    on_epoch: Callable[[Epoch], None] = lambda _: None


def make_crowd(
    data: DataConfig,
    sampling: Sampling,
    penalty: float = 1000.0,
    progress: Callable[[str], None] = lambda _: None,
    learning: Learning | None = None,
) -> SavedCrowd:
    """Fit on `data`'s validation examples of `sampling`, with counts of its training part, as the system `fused` is.

    The records then hold everything that was taken, the last items too: a recommender may use what an evaluation must not. `learning`:
    learn on the training part what titles, with the items' own descriptions, follow which, as one more voice. Raises `ConfigurationError` where there is no validation example.
    """
    frozen = frozen_examples(data, cache_root() / "frozen", progress)
    if not (examples := frozen.examples("validation", sampling)):
        raise ConfigurationError("path: no user has the four items that fitting needs; give more data")
    training = frozen.training()
    features = CrowdFeatures(records_of(training))
    names, table = features.names, np.stack([features.of(e.history, e.candidates, e.time) for e in examples])
    similarity = None
    if learning is not None:
        progress("reading titles and descriptions")
        texts = {i: item.text[:TEXT] for i, item in frozen.items.items() if item.text}
        similarity = LearnedSimilaritySystem(texts, folder=learning.folder, on_epoch=learning.on_epoch)
        similarity.fit(training, data.seed, [e for e in examples if e.draw == 0])
        learned = [np.column_stack(with_ranks(np.array(scores))) for scores in similarity.rank_many(examples)]
        names, table = (*names, *LEARNED), np.concatenate([table, np.stack(learned)], axis=2)
    progress("weighing the evidence")
    targets = np.array([e.candidates.index(e.target) for e in examples])
    model = fit_choice(names, table, targets, penalty)
    loaded, _ = in_order(data, find_source(data.path).load(data.path.name))
    dataset, _ = filter_dataset(loaded, data.min_interactions)
    timed = all(taken.time is not None for own in dataset.users.values() for taken in own)
    return SavedCrowd(
        Records(
            item_facts(dataset.items),
            [[taken.item_id for taken in own] for own in dataset.users.values()],
            [[taken.time or 0 for taken in own] for own in dataset.users.values()] if timed else [],
        ),
        model,
        None if similarity is None else similarity.learned,
    )

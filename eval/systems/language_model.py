"""A LLaMA that ranks candidates by how likely their titles are as the answer to the paper's prompt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from webrec.eval.data.dataset import Item, RankingExample, TrainingData
from webrec.eval.retrieval.page_source import PageSource
from webrec.eval.systems.system import Answer, NotFittedError
from webrec.eval.train_config import PromptConfig
from webrec.models.backbone import Backbone, get_backbone
from webrec.models.config import BackboneConfig, ScoreBy

if TYPE_CHECKING:
    from webrec.models.scoring import CandidateLikelihood
    from webrec.nodes.prompt import User


def together_on(backbone: Backbone) -> int:
    """Most tokens of several examples in one pass, padding included. On a CPU one example alone is as quick, and its numbers do not depend on its neighbours."""
    return 0 if backbone.device.type == "cpu" else 8_192


@dataclass(frozen=True)
class Asked:
    """The user, the prompt's ids, those of the candidates in the prompt's order, and the seconds that making them took."""

    user: User
    prompt: list[int]
    answers: list[list[int]]
    seconds: float

    @property
    def tokens(self) -> int:
        """Of prompt and candidates."""
        return len(self.prompt) + sum(len(answer) for answer in self.answers)


class LanguageModel:
    """The backbone as `webrec recommend` asks it: zero-shot, or with a trained adapter.

    `pages`: what it reads; None is `--no-retrieval`. `threads`: CPU threads of the model while it computes. `fit` loads it and
    remembers the titles; nothing is trained. Raises `ConfigurationError` from `fit` for a backbone or adapter that cannot be loaded.
    """

    name = "llm"

    def __init__(
        self,
        backbone: BackboneConfig,
        prompt: PromptConfig,
        score_by: ScoreBy = "mean",
        *,
        pages: PageSource | None = None,
        threads: int = 1,
    ) -> None:
        self._pages = pages
        self._config, self._prompt, self._score_by, self._threads = backbone, prompt, score_by, threads
        self._backbone: Backbone | None = None
        self._items: dict[str, Item] = {}
        self._known: tuple[tuple[int, ...], dict[tuple[int, ...], CandidateLikelihood]] = (), {}

    def fit(self, training: TrainingData, seed: int, validation: Sequence[RankingExample] = ()) -> None:
        """Load the model."""
        self._items = dict(training.items)
        self._backbone = get_backbone(self._config)

    def rank(self, example: RankingExample) -> list[float]:
        """What `score_by` says of each candidate, in nats."""
        return list(self.answer_many([example])[0].scores)

    def rank_many(self, examples: Sequence[RankingExample]) -> list[list[float]]:
        """`rank` of each."""
        return [list(answer.scores) for answer in self.answer_many(examples)]

    def answer_many(self, examples: Sequence[RankingExample]) -> list[Answer]:
        """`rank` of each, with time and tokens; on a GPU several in one pass, which share its time alike."""
        if (backbone := self._backbone) is None:
            raise NotFittedError(self.name)
        answers, most = list[Answer](), together_on(backbone)
        group: list[tuple[RankingExample, Asked]] = []
        for example in examples:
            asked = self._ask(backbone, example)
            if group and (len(group) + 1) * max(one.tokens for _, one in (*group, (example, asked))) > most:
                answers += self._answers(backbone, group)
                group = []
            group.append((example, asked))
        return answers + (self._answers(backbone, group) if group else [])

    def _answers(self, backbone: Backbone, group: Sequence[tuple[RankingExample, Asked]]) -> list[Answer]:
        from webrec.models.scoring import score_candidates, score_together
        from webrec.models.threads import torch_threads

        began = time.perf_counter()
        questions = [(asked.prompt, asked.answers) for _, asked in group]
        with torch_threads(self._threads):
            likelihoods = (
                score_together(backbone, questions)
                if len(questions) > 1
                else [score_candidates(backbone, *question) for question in questions]
            )
            told = [self._tell(*one, given) for one, given in zip(group, likelihoods, strict=True)]
        share = (time.perf_counter() - began) / len(group)
        return [
            replace(answer, seconds=answer.seconds + asked.seconds + share)
            for answer, (_, asked) in zip(told, group, strict=True)
        ]

    def _ask(self, backbone: Backbone, example: RankingExample) -> Asked:
        from webrec.eval.examples import encode_user
        from webrec.nodes.prompt import User

        began = time.perf_counter()
        user = User.of(
            [self._items[item_id].title for item_id in example.history],
            [self._items[item_id].title for item_id in example.candidates],
            history_items=self._prompt.history_items,
            seed=self._prompt.seed,
            title_words=self._prompt.title_words,
        )
        limit = min(self._prompt.prompt_tokens or backbone.context_length, backbone.context_length)
        encoded = encode_user(backbone.chat, user, self._read(example), self._prompt, limit)
        return Asked(user, *encoded, time.perf_counter() - began)

    def _tell(self, example: RankingExample, asked: Asked, likelihoods: Sequence[CandidateLikelihood]) -> Answer:
        """The scores in the example's order, and the costs but for the time of asking."""
        from webrec.models.scoring import scores_of
        from webrec.nodes.prompt import prompt_order

        alone, asked_alone = (None, 0) if self._score_by != "pmi" else self._alone(asked.user, asked.answers)
        titles = [self._items[item_id].title for item_id in example.candidates]
        scores = [0.0] * len(titles)
        for place, score in zip(
            prompt_order(titles, self._prompt.seed), scores_of(likelihoods, alone, self._score_by), strict=True
        ):
            scores[place] = score
        tokens = asked.tokens + asked_alone
        if self._pages is None:
            return Answer(tuple(scores), 0.0, tokens_read=tokens)
        found = self._pages.of(example)
        # What searching took is part of the answer, though it was done once for all systems that read the same.
        return Answer(tuple(scores), found.seconds, tokens, found.tokens_written, found.searches)

    def _alone(self, user: User, answers: Sequence[Sequence[int]]) -> tuple[list[CandidateLikelihood], int]:
        """Likelihoods for a user of whom nothing is known, and how many tokens the pass has.

        Titles that were asked before are not asked again, so time is shared between examples; tokens are not.
        """
        from webrec.models.scoring import score_candidates
        from webrec.nodes.prompt import anyones_prompt

        plain = get_backbone(self._config.model_copy(update={"adapter": None, "adapter_revision": None}))
        prompt = tuple(plain.chat.encode_turn(anyones_prompt(user, self._prompt.prompt_form)))
        if self._known[0] != prompt:  # with the list of candidates, every user's is another
            self._known = prompt, {}
        known = self._known[1]
        new = [answer for answer in dict.fromkeys(map(tuple, answers)) if answer not in known]
        known.update(zip(new, score_candidates(plain, prompt, new), strict=True))
        return [known[tuple(answer)] for answer in answers], len(prompt) + sum(map(len, answers))

    def _read(self, example: RankingExample) -> list[tuple[str, str]]:
        """Title and text of the pages that go into the prompt, best first."""
        if self._pages is None:
            return []
        return [(page.title, page.text) for page in self._pages.of(example).pages[: self._prompt.pages]]

"""The training loop: the same for one process and for several, resumed from where it was killed."""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from webrec.errors import ConfigurationError, TrainingError
from webrec.models.adapter import AdaptedLlama
from webrec.models.packing import EncodedExample, PackedBatch, pack
from webrec.models.training.checkpoint import Checkpoints, Progress, settle, write_folder
from webrec.models.training.config import TrainingConfig
from webrec.models.training.losses import LossModule
from webrec.models.training.metrics import MetricsLog
from webrec.models.training.optimiser import make_optimiser, rate_factor, set_rates
from webrec.models.training.validate import validate

T = TypeVar("T")

RESULT_FILE = "result.json"
ADAPTER_FOLDER = "adapter"


@dataclass(frozen=True)
class TrainingResult:
    """How a run ended. NDCG@10 and loss are means over the validation examples: before training, and of the state that was kept."""

    steps: int
    first_ndcg10: float
    kept_ndcg10: float
    kept_loss: float
    kept_step: int
    stopped_early: bool


def train(
    adapted: AdaptedLlama,
    train_set: Sequence[EncodedExample],
    valid_set: Sequence[EncodedExample],
    config: TrainingConfig,
    output: Path,
    *,
    fingerprint: dict[str, Any],
    rank: int = 0,
    world: int = 1,
    wrap: Callable[[nn.Module], nn.Module] = lambda module: module,
    on_event: Callable[[dict[str, Any]], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingResult:
    """Train `adapted`; its best state on `valid_set` goes to `output/adapter`. Goes on from the newest checkpoint.

    Process `rank` of `world` computes its share of every batch; `wrap` (DistributedDataParallel) averages gradients.
    `fingerprint` says what the run is, so that another one's checkpoint is refused. Once `stop()` is true, a
    checkpoint is written and `KeyboardInterrupt` raised. Raises `ConfigurationError` for empty sets or a checkpoint
    of another run, `TrainingError` for a loss or gradient that is no number.
    """
    if not train_set or not valid_set:
        raise ConfigurationError(f"{'valid' if train_set else 'train'}: it holds no example; give at least one")
    run = _Run(adapted, train_set, valid_set, config, output, fingerprint, rank, world, wrap, on_event)
    if (done := run.agreed(run.finished)) is not None:
        return done
    return run.go(stop)


class _Run:
    def __init__(
        self,
        adapted: AdaptedLlama,
        train_set: Sequence[EncodedExample],
        valid_set: Sequence[EncodedExample],
        config: TrainingConfig,
        output: Path,
        fingerprint: dict[str, Any],
        rank: int,
        world: int,
        wrap: Callable[[nn.Module], nn.Module],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self.adapted, self.train_set, self.valid_set = adapted, train_set, valid_set
        self.config, self.output, self.rank, self.world = config, output, rank, world
        self.wrap, self.on_event = wrap, on_event
        llama = adapted.llama
        computed = (
            f"{str(llama.dtype).removeprefix('torch.')} on {llama.device.type}"  # `auto` is another thing elsewhere
        )
        self.checkpoints = Checkpoints(output, {**fingerprint, "computed": computed, **config.model_dump(mode="json")})
        self.batches = math.ceil(len(train_set) / config.batch_size)  # of an epoch
        self.total = self.batches * config.epochs
        self.progress = Progress()

    def finished(self) -> TrainingResult | None:
        """The result of a run that is over."""
        path = self.output / RESULT_FILE
        if not path.exists():
            return None
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
            fingerprint, result = dict(saved["fingerprint"]), TrainingResult(**saved["result"])
        except (OSError, ValueError, KeyError, TypeError):
            return None  # damaged: the last checkpoint gives it again
        self.checkpoints.check(fingerprint, str(path))
        return result

    def go(self, stop: Callable[[], bool]) -> TrainingResult:
        """Train to the end."""
        self.trained = self.adapted.trained()
        self.optimiser = make_optimiser(self.trained, self.config)
        if self.rank == 0:
            settle(self.output / ADAPTER_FOLDER)
            self.output.mkdir(parents=True, exist_ok=True)
        resumed = self.agreed(lambda: self.checkpoints.restore(self.trained, self.optimiser))
        self.metrics = None
        if self.rank == 0:
            self.metrics = MetricsLog(self.output, None if resumed is None else resumed.step)
        self.module = self.wrap(LossModule(self.adapted, self.config))
        if resumed is None:
            self._validate()
            self._checkpoint()
        else:
            self.progress = resumed
            self.on_event({"event": "resumed", "step": resumed.step, "steps": self.total})
        self.adapted.train()
        try:
            while self.progress.step < self.total and not self._exhausted():
                self._step()
                step, ends = self.progress.step, self.progress.step == self.total
                # The adapter in the folder and what is known of it go together.
                better = (ends or step % self.config.validate_every == 0) and self._validate()
                stopping = self.world == 1 and stop()
                if ends or stopping or better or step % self.config.checkpoint_every == 0:
                    self._checkpoint()
                if stopping and not ends:
                    raise KeyboardInterrupt
        finally:
            if self.metrics is not None:
                self.metrics.close()
        if self.progress.step < self.total:
            self.on_event({"event": "stopped_early", "step": self.progress.step, "steps": self.total})
        return self._finish()

    def agreed(self, read: Callable[[], T | None]) -> T | None:
        """What every worker reads in the output folder, once all have come here and before any goes on.

        Raises for all what reading raises for one, and `TrainingError` if they do not read the same: one who went on alone, or from
        another step, would keep the others waiting or average gradients that do not belong together.
        """
        if self.world == 1:
            return read()
        torch.distributed.barrier()  # the first one has waited for whoever wrote before
        error: ConfigurationError | None = None
        value: T | None = None
        try:
            value = read()
        except ConfigurationError as wrong:
            error = wrong
        found: list[Any] = [None] * self.world
        torch.distributed.all_gather_object(found, (value, error))
        for _, problem in found:
            if problem is not None:
                raise problem
        if any(other != value for other, _ in found):
            steps = ", ".join("none" if other is None else f"step {_step_of(other)}" for other, _ in found)
            raise TrainingError(
                f"output: the workers found different states of the run ({steps}); give a folder that all of them see alike, and start again"
            )
        return value

    def _exhausted(self) -> bool:
        return self.progress.without_gain >= self.config.patience

    def _step(self) -> None:
        """One step of the optimiser on the batch that seed and step decide."""
        began, step = time.perf_counter(), self.progress.step
        epoch, number = divmod(step, self.batches)
        order = list(range(len(self.train_set)))
        random.Random(f"{self.config.seed}:{epoch}").shuffle(order)  # noqa: S311 (no secret)
        size = self.config.batch_size
        batch = [self.train_set[i] for i in order[number * size : (number + 1) * size]]
        set_rates(self.optimiser, rate_factor(step, self.total, self.config))
        self.optimiser.zero_grad(set_to_none=True)
        devices = [self.adapted.llama.device] if self.adapted.llama.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(random.Random(f"{self.config.seed}:{step}:{self.rank}").getrandbits(62))  # noqa: S311
            loss, tokens = self._backward(batch)
        norm = float(nn.utils.clip_grad_norm_(list(self.trained.values()), self.config.clip_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            keys = ", ".join(e.key for e in batch[:8])
            raise TrainingError(
                f"training: loss {loss} and gradient norm {norm} at step {step + 1} are not finite (examples {keys}); lower "
                "learning_rate, or look at these examples"
            )
        self.optimiser.step()
        self.progress.step += 1
        seconds = time.perf_counter() - began
        row: dict[str, Any] = {
            "kind": "step",
            "step": self.progress.step,
            "epoch": epoch,
            "loss": loss,
            "learning_rate": self.optimiser.param_groups[-1]["lr"],
            "gradient_norm": norm,
            "examples_per_second": len(batch) / seconds,
            "tokens_per_second": tokens / seconds,
            "seconds": seconds,
        }
        if self.adapted.head is not None:
            gates = zip(self.adapted.head.config.layers, self.adapted.head.gates(), strict=True)
            row |= {f"gate_{layer}": gate.item() for layer, gate in gates}
            row["gate_learning_rate"] = self.optimiser.param_groups[0]["lr"]
        self._tell(row)

    def _backward(self, batch: list[EncodedExample]) -> tuple[float, int]:
        """Gradients of the mean loss over `batch`; that loss, and how many positions were computed."""
        own = batch[self.rank :: self.world]
        micro = self.config.micro_batch
        passes = math.ceil(
            math.ceil(len(batch) / self.world) / micro
        )  # the same number in every process, or one would wait
        soft_prompt, device = self.adapted.soft_prompt(), self.adapted.llama.device
        virtual = 0 if soft_prompt is None else len(soft_prompt)
        total, positions = torch.zeros((), dtype=torch.float64, device=device), 0
        for number in range(passes):
            part = own[number * micro : (number + 1) * micro]
            # DistributedDataParallel divides by the number of processes. A process without an example computes one
            # that counts nothing.
            weight = self.world / len(batch) if part else 0.0
            packed = pack(part or batch[:1], virtual, device, only_target=self.config.loss == "title")
            weights = torch.full((len(packed.counts),), weight, device=device)
            total += self._accumulate(packed, weights, last=number == passes - 1).double()
            positions += packed.size
        counted = torch.stack([total, torch.tensor(float(positions), dtype=torch.float64, device=device)])
        self._add_up(counted)
        return float(counted[0]) / self.world, int(counted[1])

    def _accumulate(self, packed: PackedBatch, weights: Tensor, *, last: bool) -> Tensor:
        no_sync = getattr(self.module, "no_sync", nullcontext)
        with nullcontext() if last else no_sync():
            loss: Tensor = self.module(packed, weights)
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _add_up(self, tensor: Tensor) -> None:
        if self.world > 1:
            torch.distributed.all_reduce(tensor)

    def _validate(self) -> bool:
        """Whether it is the best so far, whose adapter is then kept."""
        began, progress = time.perf_counter(), self.progress
        found = validate(
            self.adapted, self.valid_set, self.config, rank=self.rank, world=self.world, add_up=self._add_up
        )
        if progress.step == 0:
            progress.first = found.ndcg10
        if self.config.best_by == "loss":
            better = progress.kept_loss is None or found.loss < progress.kept_loss
        else:
            better = found.ndcg10 > progress.kept_ndcg10
        if better:
            progress.kept_ndcg10, progress.kept_loss = found.ndcg10, found.loss
            progress.kept_step, progress.without_gain = progress.step, 0
            if self.rank == 0:
                write_folder(self.output / ADAPTER_FOLDER, self.adapted.save_pretrained)
        else:
            progress.without_gain += 1
        self._tell(
            {"kind": "validation", "step": progress.step, **asdict(found), "seconds": time.perf_counter() - began}
        )
        return better

    def _tell(self, row: dict[str, Any]) -> None:
        if self.metrics is not None:
            self.metrics.write(row)
        self.on_event({"event": row["kind"], "steps": self.total, **row})

    def _checkpoint(self) -> None:
        if self.metrics is not None:
            self.metrics.sync()
            self.checkpoints.save(self.progress, self.trained, self.optimiser, self.config.keep_checkpoints)
            self.on_event({"event": "checkpoint", "step": self.progress.step})

    def _finish(self) -> TrainingResult:
        progress = self.progress
        assert progress.kept_loss is not None  # it was validated before the first step
        result = TrainingResult(
            steps=progress.step,
            first_ndcg10=progress.first,
            kept_ndcg10=progress.kept_ndcg10,
            kept_loss=progress.kept_loss,
            kept_step=progress.kept_step,
            stopped_early=progress.step < self.total,
        )
        if self.rank == 0:
            saved = {"result": asdict(result), "fingerprint": self.checkpoints.fingerprint}
            fresh = self.output / f"{RESULT_FILE}.new"
            with fresh.open("w", encoding="utf-8") as file:
                file.write(json.dumps(saved, indent=1) + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.output / RESULT_FILE)
        return result


def _step_of(state: Progress | TrainingResult) -> int:
    return state.step if isinstance(state, Progress) else state.steps

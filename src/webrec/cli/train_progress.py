"""The events of a training run as lines for a terminal or a log."""

from __future__ import annotations

from typing import Any

from webrec.cli.progress import StatusLine


class TrainProgress(StatusLine):
    """Steps on the status line; starts and validations as lines that stay."""

    def __init__(self) -> None:
        super().__init__()
        self.step = 0
        self.interruptible = False
        self.finished_before = False
        self._seconds: float | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Show what the event says."""
        kind = event["event"]
        if kind == "ray":
            self.show(f"starting Ray with {event['workers']} workers")
        elif kind == "loading":
            self.show("loading the backbone (fetched and converted the first time, about a minute)")
        elif kind == "started" and event.get("rank", 0) == 0:
            self.keep(f"on {event['device']}, {event['dtype']}, {event['threads']} CPU threads")
        elif kind == "encoding":
            self.show(f"encoding {event['set']}: {event['done']:,} of {event['of']:,} examples")
        elif kind == "anyones":
            self.show(f"titles without a user, {event['set']}: {event['done']:,} scored")
        elif kind == "measuring":
            self.show(f"measuring keys and values on {event['prompts']:,} prompts")
        elif kind == "resumed":
            self.interruptible = True
            self.step = event["step"]
            self.keep(f"going on from step {event['step']:,} of {event['steps']:,}")
        elif kind == "restarted":
            self.keep("a worker was lost: starting again from the newest checkpoint")
        elif kind == "validation":
            self._validation(event)
        elif kind == "step":
            self._step(event)
        elif kind == "stopped_early":
            self.keep(f"stopped at step {event['step']:,} of {event['steps']:,}: validation got no better")
        elif kind == "finished":
            self.finished_before = True

    def _validation(self, event: dict[str, Any]) -> None:
        self.interruptible = True
        self.step = event["step"]
        self.keep(
            f"step {event['step']:,} of {event['steps']:,}: NDCG@10 {event['ndcg10']:.4f}, HR@10 {event['hr10']:.4f}, "
            f"loss {event['loss']:.4f} on the validation examples"
        )

    def _step(self, event: dict[str, Any]) -> None:
        self.step = event["step"]
        usual = event["seconds"] if self._seconds is None else 0.9 * self._seconds + 0.1 * event["seconds"]
        self._seconds = usual
        left = usual * (event["steps"] - event["step"])
        self.show(
            f"step {event['step']:,} of {event['steps']:,}, loss {event['loss']:.3f}, "
            f"{event['examples_per_second']:.1f} examples/s, about {duration(left)} of training left"
        )


def duration(seconds: float) -> str:
    """Seconds as one would say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

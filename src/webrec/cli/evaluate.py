"""`webrec eval CONFIG`: ask systems about data sets, and say how well they rank."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from webrec.cli.progress import StatusLine
from webrec.cli.train import stop_on_interrupt
from webrec.cli.train_progress import duration
from webrec.errors import ConfigurationError

if TYPE_CHECKING:
    from webrec.eval.evaluation.config import EvalConfig
    from webrec.eval.evaluation.summary import Summary


@click.command("eval")
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Go on with the run in FOLDER, whose settings are there, instead of CONFIG.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Change a setting, e.g. threads=2; may be given again. Paths are relative to CONFIG, as inside it.",
)
@click.option(
    "--ray",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Compute language models in Ray actors, of this machine or of the cluster at ADDRESS.",
)
@click.option("--actors", type=click.IntRange(1, 4096), help="How many actors; with --ray.")
@click.option("--report", is_flag=True, help="Write the report as well, as `webrec report` does.")
@click.pass_context
def evaluate(
    context: click.Context,
    config: Path | None,
    resume: Path | None,
    changes: tuple[str, ...],
    ray: str | None,
    actors: int | None,
    report: bool,
) -> None:
    """Evaluate systems as the YAML, TOML or JSON file CONFIG says, and print the table.

    A run that was stopped or killed goes on when the same command is called again, or with --resume; nothing is asked twice.
    """
    from webrec.eval.evaluation.config import read_eval_config, resumed_config
    from webrec.eval.evaluation.run import evaluate as run
    from webrec.eval.run_folder import RUN_FILE

    if (config is None) == (resume is None):
        raise ConfigurationError("CONFIG: give either a file of settings or --resume with the folder of a run")
    if resume is not None and changes:
        raise ConfigurationError("--set: a run that goes on keeps its settings; leave --set out, or start another run")
    settings = read_eval_config(config, changes) if config is not None else resumed_config(resume or Path())
    settings = _on_ray(settings, ray, actors)
    progress = EvalProgress()
    try:
        with progress, stop_on_interrupt(progress, "this piece") as stop:
            summary = run(settings, on_event=progress, stop=stop)
    except KeyboardInterrupt:
        begun = (settings.output / RUN_FILE).exists()
        click.echo(
            f"webrec: interrupted after {progress.done:,} of {progress.rows:,} rows, which are kept; "
            f"go on with: webrec eval --resume {settings.output}"
            if begun
            else "webrec: interrupted before the run began; call the same command again",
            err=True,
        )
        context.exit(130)
    click.echo(table(summary))
    click.echo(f"rows and summary: {settings.output}")
    if report:
        from webrec.cli.report import write_reports

        write_reports((settings.output,), settings.output)


def _on_ray(settings: EvalConfig, ray: str | None, actors: int | None) -> EvalConfig:
    """The settings with what the options say of Ray: where a run computes is no part of what it is."""
    from webrec.eval.evaluation.config import RayConfig

    told: dict[str, Any] = {
        **({} if ray is None else {"address": ray}),
        **({} if actors is None else {"actors": actors}),
    }
    if not told:
        return settings
    if ray is None and settings.ray is None:
        raise ConfigurationError("--actors: it counts with Ray alone; add --ray, or leave it out")
    chosen = RayConfig() if settings.ray is None else settings.ray
    return settings.model_copy(update={"ray": chosen.model_copy(update=told)})


class EvalProgress(StatusLine):
    """What is being done, how many rows there are, and the time left at the pace so far."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = self.done = 0
        self.interruptible = False
        self._asked = self._found = self._wanted = 0
        self._began = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        """Show what the event says."""
        kind = event["event"]
        if kind == "data":
            self.show(f"{event['data']}: {event['doing']}")
        elif kind == "left_out":
            told = "; ".join(f"{why}: {count:,}" for why, count in event["counts"].items())
            self.keep(f"{event['data']}, left out: {told}")
        elif kind == "shuffled":
            told = f"{event['count']:,} interactions with the time of another of their user are in an order by chance"
            self.keep(f"{event['data']}: {told} (same_time)")
        elif kind == "planned":
            self.rows, self.done = event["rows"], event["done"]
            self._began = time.monotonic()
            before = f", {self.done:,} of them there already" if self.done else ""
            self.keep(f"{self.rows:,} rows{before}")
        elif kind == "ray":
            self.show(f"starting {event['actors']} actors on Ray")
        elif kind == "actor":
            self.keep(f"an actor computes on {event['machine']}: process {event['process']}, cache {event['cache']}")
        elif kind == "searching":
            self.interruptible = True
            self._found, self._wanted = event["done"], event["of"]
            self.show(f"searching for {self._wanted:,} examples")
            self._began = time.monotonic()
        elif kind == "searched":
            self._found += event["examples"]
            left = (time.monotonic() - self._began) / self._found * (self._wanted - self._found)
            self.show(
                f"{event['data']}, {event['retrieval']}: searched for {self._found:,} of {self._wanted:,} examples, about "
                f"{duration(left)} left at this pace"
            )
            if self._found == self._wanted:
                self._began = time.monotonic()
        elif kind == "fitting":
            self.interruptible = False  # learning keeps its own state: Ctrl-C need not wait
            self.show(f"{_of(event)}: learning; {self.done:,} of {self.rows:,} rows")
        elif kind == "training step":
            self.show(f"{_of(event)}: training, step {event['step']:,} of {event['steps']:,}, loss {event['loss']:.3f}")
        elif kind == "training epoch":
            value = event["validation"]
            told = "" if value is None else f", validation NDCG@10 {value:.4f}"
            self.show(f"{_of(event)}: epoch {event['epoch']:,}, loss {event['loss']:.3f}{told}")
        elif kind == "training anyones":
            self.show(f"{_of(event)}: titles without a user, {event['done']:,} scored")
        elif kind == "training trained_before":
            self.keep(f"{_of(event)}: trained before by another run with the same settings and data")
        elif kind == "training validation":
            self.keep(f"{_of(event)}: step {event['step']:,}, validation NDCG@10 {event['ndcg10']:.4f}")
        elif kind == "fitted":
            self.interruptible = True
        elif kind == "answered":
            self.done += event["rows"]
            self._asked += event["rows"]
            left = (time.monotonic() - self._began) / self._asked * (self.rows - self.done)
            self.show(
                f"{event['data']}, {event['system']}: {self.done:,} of {self.rows:,} rows, about {duration(left)} left at this pace"
            )
        elif kind == "summarising":
            self.interruptible = False
            self.show("computing intervals and tests")


def _of(event: dict[str, Any]) -> str:
    return f"{event['data']}, {event['system']}, seed {event['seed']}"


def table(summary: Summary) -> str:
    """One table for each data set and sampling, best first: means with 95 % intervals, and the gap to the best."""
    from webrec.eval.metrics.statistics import told_p

    lines: list[str] = []
    for data, sampling in dict.fromkeys((c.data, c.sampling) for c in summary.cells):
        cells = [c for c in summary.cells if (c.data, c.sampling) == (data, sampling)]
        pairs = {p.rival: p for p in summary.pairs if (p.data, p.sampling) == (data, sampling)}
        width = max(len(c.system) for c in cells)
        lines += ["", f"{data}, {sampling} candidates, {cells[0].users:,} users"]
        lines.append(f"{'':{width}}  NDCG@10 (95 %)        HR@10 (95 %)          HR@5   MRR    behind the best")
        for cell in sorted(cells, key=lambda c: -c.metrics[summary.metric][0]):
            shown = [
                f"{m:.3f} ({low:.3f}-{high:.3f})" for m, low, high in (cell.metrics[n] for n in ("ndcg@10", "hr@10"))
            ]
            pair = pairs.get(cell.system)
            behind = "" if pair is None else f"{pair.difference[0]:.3f}, p {told_p(pair.p)}"
            lines.append(
                f"{cell.system:{width}}  {shown[0]}   {shown[1]}   {cell.metrics['hr@5'][0]:.3f}  "
                f"{cell.metrics['mrr'][0]:.3f}  {behind}"
            )
        expected = summary.chance[data]
        lines.append(f"{'chance':{width}}  {expected['ndcg@10']:.3f}                 {expected['hr@10']:.3f}")
    return "\n".join(lines[1:])

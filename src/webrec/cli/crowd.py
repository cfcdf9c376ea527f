"""`webrec crowd FOLDER`: what other users took, made ready for `webrec recommend --crowd`."""

from __future__ import annotations

from pathlib import Path

import click

from webrec.cli.progress import StatusLine
from webrec.errors import ConfigurationError


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the crowd that is made.")
@click.option("--min-interactions", type=click.IntRange(0, 1000), default=5, show_default=True, help="Of the filter.")
@click.option(
    "--sampling",
    type=click.Choice(["uniform", "matched"]),
    default="uniform",
    show_default=True,
    help="Whom the weights tell apart: items drawn evenly, or about equally popular ones.",
)
@click.option(
    "--similarity",
    is_flag=True,
    help="Also learn which titles and descriptions follow which, by a small sentence encoder: better on validation users (docs/log.md), and takes minutes, at 50,000 items hours.",
)
def crowd(folder: Path, output: Path, min_interactions: int, sampling: str, similarity: bool) -> None:
    """Count what the users of the data set in FOLDER took, and weigh it on what they took next.

    The data set is of one of the forms that webrec eval reads. What is written holds sequences of items, and no user ids; it goes
    into a new folder, or takes the place of an older crowd. Learning goes on where it was stopped.
    """
    from webrec.eval.data.candidates import Sampling
    from webrec.eval.data.config import DataConfig
    from webrec.eval.saved_crowd import Learning, make_crowd
    from webrec.eval.systems.epoch_checkpoint import Epoch, forget
    from webrec.tools.crowd.saved import LEARNING, check_crowd_folder, save_crowd

    if output.exists() and folder.exists() and output.samefile(folder):  # both have a file of items, of one name
        raise ConfigurationError(f"output: {output} is the folder of the data; give another folder")
    check_crowd_folder(output)
    drawn: Sampling = "matched" if sampling == "matched" else "uniform"
    data = DataConfig(path=folder.resolve(), min_interactions=min_interactions, samplings=(drawn,))
    kept = output / LEARNING
    with StatusLine() as line:

        def told(epoch: Epoch) -> None:
            line.show(
                f"learning what follows what: epoch {epoch.epoch}, validation NDCG@10 {epoch.validation or 0:.4f}"
            )

        made = make_crowd(data, drawn, progress=line.show, learning=Learning(kept, told) if similarity else None)
    save_crowd(output, made)
    if similarity:
        forget(kept)
    for name, weight in sorted(
        zip(made.model.names, made.model.weights.tolist(), strict=True), key=lambda w: -abs(w[1])
    ):
        click.echo(f"{name:24}  {weight:+.3f}")
    click.echo(f"{len(made.records.sequences):,} users, {made.records.count:,} items: {output}")

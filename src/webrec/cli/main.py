"""The `webrec` command: its subcommands, and how errors become one sentence and an exit code."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

import click

from webrec import __version__
from webrec.cli.crowd import crowd
from webrec.cli.data import data
from webrec.cli.demo import demo
from webrec.cli.doctor import doctor
from webrec.cli.evaluate import evaluate
from webrec.cli.mcp import mcp
from webrec.cli.recommend import recommend
from webrec.cli.report import report
from webrec.cli.searches import searches
from webrec.cli.train import train
from webrec.errors import InputError, WebRecError
from webrec.models.allocator import limit_allocator
from webrec.tools.text_safety import clean

_FULL = {errno.ENOSPC, errno.EDQUOT}
"""What an operating system says of a disk that takes no more."""


class _Commands(click.Group):
    """A group that turns the project's errors into one line on standard error: exit code 2 for bad input, else 1."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's, with streams that refuse no character: a result must not be lost because a terminal lacks a letter."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper) and stream.errors in {"strict", "surrogateescape"}:
                stream.reconfigure(errors="replace")
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except WebRecError as error:
            click.echo(f"webrec: {clean(str(error))}", err=True)
            ctx.exit(2 if isinstance(error, InputError) else 1)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            where = f"{clean(str(error.filename))}: " if error.filename else ""
            click.echo(
                f"webrec: {where}{error.strerror}; free some space there, then call the same command again", err=True
            )
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("webrec: interrupted", err=True)
            ctx.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="webrec")
def main() -> None:
    """WebRec reads the web before it recommends (arXiv 2511.14182)."""
    # Read by OpenMP when torch is first imported. By default its waiting threads spin so long that one other busy
    # process makes decoding several times slower; this little costs nothing on a quiet machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    limit_allocator()


for command in (recommend, demo, train, data, crowd, evaluate, report, searches, doctor, mcp):
    main.add_command(command)

"""Write docs/settings.md from the run context, so that the documents say what the command line and Studio say."""

from __future__ import annotations

from pathlib import Path

from webrec.nodes.context import RunContext

TARGET = Path(__file__).parents[1] / "docs" / "settings.md"


def settings_table() -> str:
    """All settings with defaults and help texts, as Markdown."""
    rows = [
        "# Settings",
        "",
        "The fields of `webrec.RunContext`: options of the command line (`--pages 5`), keyword arguments of `recommend`,",
        "`as_tool` and `build_graph(...).invoke(context=…)`, and fields in Studio. Written by `scripts/write_settings.py`.",
        "",
        "| setting | default | meaning |",
        "| --- | --- | --- |",
    ]
    for name, field in RunContext.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = ", ".join(default) if isinstance(default, tuple) else "unset" if default is None else str(default)
        rows.append(f"| `{name}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    TARGET.write_text(settings_table(), "utf-8")

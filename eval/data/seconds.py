"""Times as data sets have them: Unix seconds, and how other units are told from them."""

from __future__ import annotations

from webrec.errors import InputError

_EARLIEST, _LATEST = -2_208_988_800, 4_102_444_800
"""The years 1900 to 2100; milliseconds of any time after February 1970 lie later."""
_UNITS = ((1_000, "milliseconds"), (1_000_000, "microseconds"), (1_000_000_000, "nanoseconds"))


def check_seconds(time: float, shown: str, where: str) -> None:
    """Raise `InputError` where `time` lies outside the years 1900 to 2100, as milliseconds do. `shown`: as the file has it."""
    if _EARLIEST <= time < _LATEST:
        return
    unit = next((u for u in _UNITS if _EARLIEST <= time / u[0] < _LATEST), None)
    fix = "give seconds since 1970, of the years 1900 to 2100" if unit is None else f"divide {unit[1]} by {unit[0]}"
    raise InputError(f"{where}: timestamp {shown} is not in Unix seconds; {fix}")

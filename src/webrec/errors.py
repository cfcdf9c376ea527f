"""Every error that WebRec raises on purpose: a leaf module that any layer may import.

Each message is one sentence that names the field at fault and the fix. The command line turns
`InputError` and its kin into exit code 2 and every other `WebRecError` into exit code 1.
"""

from __future__ import annotations


class WebRecError(Exception):
    """Base of all errors raised on purpose."""


class InputError(WebRecError, ValueError):
    """The caller's input or settings are wrong; the message names the field and the fix."""


class ConfigurationError(InputError):
    """A setting is wrong: an unknown provider, a missing key or folder, a backbone that is not a LLaMA."""


class MissingExtraError(ConfigurationError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


class SearchError(WebRecError):
    """A search failed (a provider that finds nothing is no error).

    `retry`: asking again may help. `retry_after`: seconds that the service asks to wait, if it says so. `lost`: the call was
    sent and its answer lost, so it may have been billed.
    """

    def __init__(
        self, message: str, *, retry: bool = False, retry_after: float | None = None, lost: bool = False
    ) -> None:
        super().__init__(message)
        self.retry = retry
        self.retry_after = retry_after
        self.lost = lost

    def again(self, message: str | None = None) -> SearchError:
        """The same failure as an object of its own, with another `message` if one is given.

        A class of somebody else's, which may be made otherwise, becomes a plain `SearchError`.
        """
        kind = type(self) if type(self).__init__ is SearchError.__init__ else SearchError
        told = str(self) if message is None else message
        return kind(told, retry=self.retry, retry_after=self.retry_after, lost=self.lost)


class SpendingCapError(SearchError):
    """The next call would exceed a cap of calls or money; nothing was sent."""


class NotRecordedError(SearchError):
    """Replaying, and this search or page was not recorded; nothing was sent."""


class BackboneError(WebRecError):
    """Weights could not be fetched, verified or converted, or an external decoder gave nothing to read."""


class BusyError(WebRecError):
    """Too many runs wait for the backbone already; nothing of this one was lost or done. `retry_after`: seconds."""

    def __init__(self, waiting: int, retry_after: float) -> None:
        self.waiting, self.retry_after = waiting, max(1, round(retry_after))
        super().__init__(f"busy: {waiting} runs are waiting for the backbone; retry after {self.retry_after} s")

    def __reduce__(self) -> tuple[type[BusyError], tuple[int, float]]:
        """Sent to another process it is made anew: an exception is otherwise made of its sentence alone."""
        return type(self), (self.waiting, self.retry_after)


class TrainingError(WebRecError):
    """Training cannot go on: a loss or a gradient is no number."""


class RunCancelled(WebRecError):
    """The run was cancelled by its caller while a model was computing."""


def missing_extra(extra: str, package: str) -> MissingExtraError:
    """The error for a `package` that only `extra` installs."""
    return MissingExtraError(f"{package} is not installed; install it with: pip install 'webrec[{extra}]'")

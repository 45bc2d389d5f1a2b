"""What can go wrong with private servers; branches of the tree in `wa_supervisor.domain.errors`.

TemporaryError
+-- StoreUnavailableError
    +-- ServerStartError              a server did not start; quotes the end of its log
PermanentError
+-- EmbeddedNotInstalledError         a wheel is missing
+-- StateDirectoryInUseError          another process owns the state directory
+-- StateDirectoryUnusableError       the state directory cannot be written, entered or trusted
+-- ClusterVersionError               the cluster needs another major version of PostgreSQL
"""

from __future__ import annotations

import os
from pathlib import Path

from wa_supervisor.domain.errors import PermanentError, StoreUnavailableError


class ServerStartError(StoreUnavailableError):
    """A private server could not be started or prepared; the message ends with the last lines of its log."""

    reason = "EmbeddedStartFailed"


class EmbeddedNotInstalledError(PermanentError):
    """A wheel with a server is not installed, or has none for this machine."""

    reason = "EmbeddedNotInstalled"


class StateDirectoryInUseError(PermanentError):
    """Another living process owns the state directory; the message names its process id."""

    reason = "StateDirectoryInUse"


class StateDirectoryUnusableError(PermanentError):
    """The state directory, or what lies in it, cannot be created, written or entered by the user that needs it."""

    reason = "StateDirectoryUnusable"


class ClusterVersionError(PermanentError):
    """The existing cluster was made by a major version of PostgreSQL that is not installed."""

    reason = "ClusterVersion"


def unusable(path: Path, error: OSError) -> StateDirectoryUnusableError:
    """Return the error that says why this path cannot be used and what to do."""
    return StateDirectoryUnusableError(
        f"cannot use {path}: {error.strerror or error}; choose a state directory on a disk with free space that"
        f" user {os.geteuid()} owns and may write, or give this one to that user (chown -R)"
    )

"""What can go wrong around a run, by name."""

from __future__ import annotations

from ...structures.errors import SurfshiftError


class EnvironmentProblemError(SurfshiftError):
    """Something is wrong with the machine, not with the study."""


class AlreadyRunningError(EnvironmentProblemError):
    """Another process runs the jobs of this folder."""


class RunFolderError(SurfshiftError):
    """The run folder holds no run, or one that does not fit the study file."""


class DiskFullError(EnvironmentProblemError):
    """No space is left where results are written."""


class InterruptedRunError(SurfshiftError):
    """The run was stopped from outside; finished work is kept."""


class UnsafeValueError(SurfshiftError):
    """A value for a job script that could be taken for a command or for syntax."""


class ClusterSilentError(EnvironmentProblemError):
    """A cluster that has jobs of the run does not answer any more."""

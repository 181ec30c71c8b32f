"""What can go wrong between this machine and a cluster, by name."""

from __future__ import annotations

from ...structures.errors import SurfshiftError
from ..queue.errors import EnvironmentProblemError


class HpcError(SurfshiftError):
    """Base of every refusal of a template, a workers' file or a request for resources."""


class UnknownTemplateError(HpcError):
    """There is no template of that name."""


class TemplateVariableError(HpcError):
    """A variable that the template does not have, that is missing, or whose value cannot stand where it belongs."""


class WorkersFileError(HpcError):
    """The file of the workers cannot be read or does not fit."""


class UnknownWorkerError(HpcError):
    """A worker that the file does not define."""


class HostError(EnvironmentProblemError):
    """Base of what is wrong with a cluster as it answers now."""


class UnreachableHostError(HostError):
    """The host does not answer."""


class KeyRefusedError(HostError):
    """The host answers and refuses the login."""


class SchedulerMissingError(HostError):
    """The commands of the scheduler are not there, or do not answer."""


class WorkerSetupError(HostError):
    """The worker cannot write its folder, start its Python or import surfshift."""

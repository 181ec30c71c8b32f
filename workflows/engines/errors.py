"""Why the cluster engine refuses a site: every known failure has a name."""

from __future__ import annotations

from ...structures.errors import SurfshiftError


class EngineError(SurfshiftError):
    """Base of every refusal of the cluster engine."""


class UnsupportedTargetError(EngineError):
    """The element cannot be a target: no all-electron basis made for shieldings."""


class UnsupportedEnvironmentError(EngineError):
    """The structure cannot be cut into ions: an element without a basis, or anions bonded to each other."""


class TooManyCapsChargedError(EngineError):
    """The caps' charges would have to change too much to make the cluster neutral."""


class WrongElectronCountError(EngineError):
    """The number of electrons is not that of the closed-shell ions."""


class ScfNotConvergedError(EngineError):
    """The self-consistent field did not converge."""


class SmallGapError(EngineError):
    """The gap is too small: the cluster fell into a state that the crystal does not have."""


class AsymmetricResponseError(EngineError):
    """A tensor came out non-finite or a sum rule is broken."""

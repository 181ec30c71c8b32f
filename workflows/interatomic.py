"""The interatomic potentials that come with their weights and need no other program."""

from __future__ import annotations

import os
import warnings
from contextlib import redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from typing import TYPE_CHECKING, Any, Literal

from ..structures.errors import SurfshiftError

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator

EmbeddedModel = Literal["7net-l3i5", "7net-0", "chgnet"]


class ModelMissingError(SurfshiftError):
    """The package of a potential is not installed."""


def sevennet(model: str) -> Calculator:
    """SevenNet on the CPU, with as many threads as ``OMP_NUM_THREADS`` says, one without it."""
    import torch

    with warnings.catch_warnings():
        # SevenNet still scripts its layers, and its accelerators are for GPUs: nothing a user can change.
        warnings.filterwarnings("ignore", message="`torch.jit", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message="No tensor product accelerator", category=UserWarning)
        from sevenn.calculator import SevenNetCalculator

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        return SevenNetCalculator(model, device="cpu")


def chgnet() -> Calculator:
    """CHGNet with the weights of its package (Deng et al., Nat. Mach. Intell. 5, 1031, 2023), on the CPU.

    Raises
    ------
    ModelMissingError
        If the package is not installed.
    """
    try:
        import torch
        from chgnet.model.dynamics import CHGNetCalculator
        from chgnet.model.model import CHGNet
    except ImportError as error:
        raise ModelMissingError(
            "relax.model: chgnet needs the package chgnet; install it with 'pip install surfshift[chgnet]', or take "
            "7net-l3i5"
        ) from error

    class QuietCalculator(CHGNetCalculator):
        """Without the warnings of every step, of which a user can change nothing."""

        def calculate(self, *args: Any, **kwargs: Any) -> None:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad")
                # pymatgen meets the constraints of the relaxation on the way; they are ase's to keep
                warnings.filterwarnings("ignore", message="Only FixAtoms and FixCartesian is supported")
                super().calculate(*args, **kwargs)

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    with redirect_stdout(StringIO()):  # it prints its size and device, which would break --json
        made: Calculator = QuietCalculator(model=CHGNet.load(verbose=False, use_device="cpu"), use_device="cpu")
    return made


def embedded(model: EmbeddedModel | str) -> Calculator:
    """An ase calculator of one of the potentials.

    Raises
    ------
    ModelMissingError
        If its package is not installed.
    """
    return chgnet() if model == "chgnet" else sevennet(model)


def model_name(model: EmbeddedModel | str) -> str:
    """Package, version and weights of a potential, as results name it."""
    package = "chgnet" if model == "chgnet" else "sevenn"
    try:
        found = version(package)
    except PackageNotFoundError:
        found = "not installed"
    return f"{package} {found}/{model}"

"""How the networks of a structure can be trained."""

from __future__ import annotations

from typing import NamedTuple


class Verdict(NamedTuple):
    """How a network can be trained.

    Attributes:
        loop_only: Reason to train one after the other; empty if there is none.
        no_vmap: Reason against `vmap`; empty if there is none.
        convolution: Number of products in the convolutions of one example, forward.
        products: Number of products with weights of one example, forward: those of convolutions,
            `nn.Linear`, attention and recurrent layers, but at least as many as there are weights.
        no_outside: Reason against numbers from outside of a module, which `vmap` and `branches`
            compute with; empty if there is none.
        no_threads: Reason against several threads of Python; empty if there is none.
        no_separate: Reason against `vmap` for members that see batches of their own; empty if
            there is none.
        keeps: Reason to call the task for each member by itself, though others can, too; empty if
            there is none.
    """

    loop_only: str = ""
    no_vmap: str = ""
    convolution: int = 0
    products: int = 0
    no_outside: str = ""
    no_threads: str = ""
    no_separate: str = ""
    keeps: str = ""

    def for_group(self, *, shares_batches: bool) -> Verdict:
        """Return the verdict on members that see the same batches, or have their own."""
        if shares_batches or self.no_vmap or not self.no_separate:
            return self
        words = f"members of different seeds have batches of their own, and {self.no_separate}"
        return self._replace(no_vmap=words)

    def against(self, backend: str) -> str:
        """Return the reason against a backend, or "auto"; empty if there is none."""
        reasons = {
            "threads": self.loop_only or self.no_threads,
            "branches": self.loop_only or self.no_outside,
            "vmap": self.loop_only or self.no_outside or self.no_vmap,
        }
        return reasons.get(backend, "")


def of_draws(by: str) -> Verdict:
    """Return the verdict on networks that draw from global generators by a function."""
    return Verdict(
        f"they draw from PyTorch's global generator by {by}, whereas `torch.randn_like` and its "
        "like draw by a member's seed where `task.loss` or the network calls them"
    )

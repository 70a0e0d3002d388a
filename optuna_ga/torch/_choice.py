"""Choose a backend by the device, the population's size, and what a network allows.

The choice depends on nothing that is timed, since another backend rounds otherwise, and a study
is to be repeatable.
"""

from __future__ import annotations

from optuna_ga.torch._networks.verdict import Verdict
from optuna_ga.torch._recipe import Recipe

# Below, overhead on a CPU outweighs arithmetic. Measured with twenty networks, batches of 64 and
# two cores: `vmap` takes half as long as `threads` for 784-64-10 and 784-128-10 networks and for
# small encoders, but as long for 784-256-10 and 784-512-10.
_FEW_PRODUCTS = 150_000
_FEW_MEMBERS = 4
# Measured on an H200 with batches of 64: with five members, branches are faster for convolutions
# (103 to 134 microseconds a step and member), vmap for attention (312 to 335). With twenty, vmap
# is for 0.2 million products an example (54 to 84), and branches are for some millions.
_FEW_ON_A_GPU = {False: 4, True: 8}
_LARGE_CONVOLUTION = 1_000_000


def choose(recipe: Recipe, n_members: int, verdict: Verdict) -> tuple[str, str]:
    """Return the name of the backend that is expected to be the fastest, and why."""
    if verdict.loop_only:
        return "loop", verdict.loop_only
    if verdict.no_outside:
        one_by_one = recipe.device.type == "cuda" or verdict.no_threads
        return "loop" if one_by_one else "threads", verdict.no_outside
    if recipe.device.type == "cuda":
        if verdict.no_vmap:
            return "branches", verdict.no_vmap
        if n_members < _FEW_ON_A_GPU[verdict.convolution > 0]:
            return "branches", "few networks are the fastest side by side"
        if verdict.convolution > _LARGE_CONVOLUTION:
            return "branches", "large convolutions are slower as groups of one"
        return "vmap", "on a GPU one operation for all members is the fastest"
    if verdict.keeps:
        return "loop", verdict.keeps
    is_small = not verdict.convolution and verdict.products <= _FEW_PRODUCTS
    if is_small and n_members >= _FEW_MEMBERS and not verdict.no_vmap:
        return "vmap", "many small networks share the overhead of each operation"
    if verdict.no_threads:
        return "loop", "; ".join(filter(None, (verdict.no_vmap, verdict.no_threads)))
    few = "on a CPU only many small networks without convolutions gain by vmap"
    return "threads", verdict.no_vmap or few


def loss_by(recipe: Recipe, n_members: int, verdict: Verdict) -> str:
    """Return the reason why a backend is not the one that is expected to be the fastest.

    Empty if it is, as where a CPU takes threads whatever `vmap` refuses.
    """
    free = Verdict(convolution=verdict.convolution, products=verdict.products)
    name, reason = choose(recipe, n_members, verdict)
    return "" if name == choose(recipe, n_members, free)[0] else reason

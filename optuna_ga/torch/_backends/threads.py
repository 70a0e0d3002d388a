"""Members trained at the same time, one on each core of a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from optuna_ga.torch._backends.loop import LoopBackend
from optuna_ga.torch._backends.side_by_side import side_by_side
from optuna_ga.torch._environment import n_cores, one_thread, usual_settings

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class ThreadsBackend(LoopBackend):
    """Trains members side by side.

    A member computes with one thread, whoever trains beside it, so that its result depends
    neither on them nor on the number of cores.
    """

    def _each(
        self,
        function: Callable[[_Item], _Result],
        items: Sequence[_Item],
        seeds: Sequence[int],
    ) -> list[_Result]:
        """Call a function with each item, on all cores; these networks draw nothing by seeds."""

        def in_thread(item: _Item) -> _Result:
            with one_thread(), usual_settings(self._recipe.device):  # These belong to a thread.
                return function(item)

        self._stop.clear()
        return side_by_side([partial(in_thread, item) for item in items], n_cores(), self._stop)

"""A setting of the process is the user's again, whatever interrupts a change."""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

import pytest

from optuna_ga import _process_setting as module
from optuna_ga._process_setting import ProcessSetting


class Setting:
    """Two numbers that are set one after the other, 0 if the user has set them."""

    def __init__(self) -> None:
        self.numbers = [0, 0]
        self.keeper = ProcessSetting(self.get, self.set, "nothing")

    def get(self) -> list[int]:
        return list(self.numbers)

    def set(self, numbers: list[int]) -> None:
        for place, number in enumerate(numbers):
            self.numbers.__setitem__(place, number)

    def use(self) -> list[int]:
        with self.keeper.changed(lambda: self.set([1, 1])):
            return self.get()


def is_interrupted(call: Callable[[], object], moment: int) -> bool:
    """Interrupt a call at one of the moments at which Python handles signals, if it has so many.

    These are the begin of each function, and the end of each function in C.
    """
    n_passed = 0

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal n_passed
        is_watched = frame.f_code.co_filename in (module.__file__, __file__)
        if event in ("call", "c_return") and is_watched and argument is not sys.setprofile:
            n_passed += 1
            if n_passed == moment:
                raise KeyboardInterrupt

    sys.setprofile(watch)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_whenever_ctrl_c_comes_the_setting_is_restored() -> None:
    """At once, and by later changes, too."""
    for moment in count(1):
        setting = Setting()
        if not is_interrupted(setting.use, moment):
            break
        assert setting.numbers == [0, 0]
        assert setting.use() == [1, 1]
        assert setting.numbers == [0, 0]
    assert moment > 10


def test_a_change_that_fails_half_way_is_undone() -> None:
    """As by an operation that the hardware does not have."""
    setting = Setting()

    def fail() -> None:
        setting.numbers[0] = 1
        raise RuntimeError("no such kernel")

    with pytest.raises(RuntimeError, match="no such kernel"), setting.keeper.changed(fail):
        pass

    assert setting.numbers == [0, 0]

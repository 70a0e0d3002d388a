"""`ProcessSetting`: a setting of the process that several threads change at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal


class ProcessSetting:
    """A setting of the process that threads of Python change at the same time, and restore.

    Args:
        get: Returns the user's setting.
        restore: Sets it.
        early: What a thread restores that leaves before the last: nothing, what it found, or the
            user's setting.
    """

    def __init__(
        self,
        get: Callable[[], Any],
        restore: Callable[[Any], None],
        early: Literal["nothing", "found", "user's"],
    ) -> None:
        self._get, self._restore, self._early = get, restore, early
        self._renew_lock()
        if hasattr(os, "register_at_fork"):
            # A thread that holds it is not in the fork.
            os.register_at_fork(after_in_child=self._renew_lock)
        self._n_users = 0
        self._of_user: Any = None

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def changed(self, change: Callable[[], object]) -> Iterator[None]:
        """Change the setting; the first to enter saves the user's, and the last restores it.

        Ctrl-C may come as any call begins or ends, so what is changed is noted without one.
        """
        has_entered, found = False, None
        try:
            with self._lock:
                found = self._get()
                if self._n_users == 0:
                    self._of_user = found
                self._n_users += 1
                has_entered = True
                change()
            yield
        finally:
            if has_entered:
                with self._lock:
                    self._n_users -= 1
                    is_users = self._n_users == 0 or self._early == "user's"
                    before = self._of_user if is_users else found
                    if is_users or self._early == "found":
                        try:
                            self._restore(before)
                        except BaseException:  # Interrupted, perhaps half-way.
                            self._restore(before)
                            raise

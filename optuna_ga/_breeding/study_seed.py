"""The seed of a study whose sampler was given none: drawn once, recorded, and taken by everybody.

Optuna's storages cannot compare and set an attribute, but they hand out trial numbers atomically.
So the trial with the lowest number decides. A process that starts a trial and finds no seed looks
for running trials with lower numbers, whose processes may be about to record one. If there are
none, nobody else can be first: it records its own. Otherwise it waits for them; the seed appears
within milliseconds. Only if a lower trial runs for another sampler, or its process died as it
began, nothing comes. Then all that wait record, and after another wait take what is there, since
the last to record wins.
"""

from __future__ import annotations

import time
from secrets import randbits

from optuna.study import Study

from optuna_ga._optuna_internals import running_numbers
from optuna_ga._records import record_seed, shown_seed

_PATIENCE_S = 2.0
_SETTLING_S = 0.5
_BETWEEN_LOOKS_S = 0.01
_BITS = 53  # So that dashboards, whose numbers are floats, show every digit.


def study_seed(study: Study, number: int | None = None) -> int:
    """Return the study's own seed; record one if there is none.

    Args:
        study: The study.
        number: The number of the trial that starts; None if no trial starts.
    """
    end = time.monotonic() + _PATIENCE_S
    while (seed := shown_seed(study)) is None:
        # Trials first, then the seed: a trial that has finished by now had recorded it before.
        is_first = number is None or not any(n < number for n in running_numbers(study))
        has_waited = time.monotonic() >= end
        if shown_seed(study) is not None:
            continue
        if is_first or has_waited:
            record_seed(study, randbits(_BITS))
        if not is_first:
            time.sleep(_SETTLING_S if has_waited else _BETWEEN_LOOKS_S)
    return seed

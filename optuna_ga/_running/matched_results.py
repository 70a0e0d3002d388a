"""The results of `evaluate`, checked and matched to the trials of a generation."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

from optuna import Trial, TrialPruned

from optuna_ga._checks import kind_of, listed_trials, shown
from optuna_ga._running.outcome import interrupts, plain


def checked_results(results: Any, trials: Sequence[Trial]) -> Iterable[Any]:
    """Return the results as a sequence or an iterator.

    Raises:
        TypeError: If they are anything else, such as a set, which has no order.
        ValueError: If a sequence has another length than the trials.
    """
    results = plain(results)
    if isinstance(results, Iterator):
        return results
    if not isinstance(results, Sequence) or isinstance(results, (str, bytes, bytearray)):
        raise TypeError(
            "`evaluate` must return a sequence or an iterator with one result for each trial, "
            f"but it returned {kind_of(results)}: {shown(results)}."
        )
    if len(results) != len(trials):
        raise _miscounted(trials, f"returned {len(results)}")
    return results


def matched_results(
    trials: Sequence[Trial], results: Iterable[Any]
) -> Generator[tuple[Trial, Any], None, None]:
    """Yield each trial with its result, in the order in which results come.

    An exception that the iterator raises is the result of the next trial; if the iterator ends
    with it, as a generator does, also of the trials that are left. A StopIteration of a map's
    function is a result, too; it cannot be told from the end of an iterator written in Python.
    """
    waiting = {trial.number: trial for trial in trials}
    iterator, error = iter(results), None
    try:
        while waiting:
            try:
                result = next(iterator)
                error = None
            except Exception as raised:
                if isinstance(raised, StopIteration) and not _is_of_a_map(iterator, raised):
                    break
                if interrupts(raised):
                    raise
                result = error = raised
            trial, result = _paired(result) or (next(iter(waiting.values())), result)
            if waiting.pop(trial.number, None) is None:
                raise _miscounted(trials, f"returned another result for trial {trial.number}")
            yield trial, result
        if not waiting and next(iterator, iterator) is not iterator:
            raise _miscounted(trials, "returned more")
        for trial in waiting.values():
            if error is None:
                raise _miscounted(trials, f"returned {len(trials) - len(waiting)}")
            yield trial, error_of_several(error)
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


def _is_of_a_map(iterator: Iterator[Any], raised: StopIteration) -> bool:
    """Return whether the function of a map raised it; at the map's own end no frame did."""
    frame = raised.__traceback__
    return isinstance(iterator, map) and frame is not None and frame.tb_next is not None


def _paired(result: Any) -> tuple[Trial, Any] | None:
    """Return a pair of a trial and its result; None if the result is no such pair."""
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], Trial):
        return result
    return None


def _miscounted(trials: Sequence[Trial], found: str) -> ValueError:
    numbers = listed_trials([trial.number for trial in trials])
    return ValueError(
        f"`evaluate` must return one result for each trial, {len(trials)} for {numbers}, but it "
        f"{found}."
    )


def error_of_several(error: Exception) -> Exception:
    """Return the result of several trials whose common evaluation raised an error."""
    if not isinstance(error, TrialPruned):
        return error
    advice = RuntimeError(
        "`evaluate` raised a TrialPruned, which prunes a single trial and says not which. Return "
        "`map(objective, trials)`, whose exceptions belong to one trial each, or return the "
        "TrialPruned as the result of its trial."
    )
    advice.__cause__ = error
    return advice

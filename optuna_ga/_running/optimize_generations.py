"""`optimize_generations`: ask for a generation, evaluate it in one call, tell the results."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from operator import attrgetter
from time import monotonic
from typing import Any

import optuna
from optuna import Trial
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from optuna_ga._checks import check_at_least_zero, check_bool, check_int, check_study
from optuna_ga._optuna_internals import is_stopped, optimization_loop, running_trials
from optuna_ga._running.arguments import (
    OBJECTIVE_GIVEN,
    check_evaluate,
    exceptions,
    functions,
    population_size_of,
)
from optuna_ga._running.in_parallel import InParallel
from optuna_ga._running.matched_results import checked_results, error_of_several, matched_results
from optuna_ga._running.outcome import (
    NoResult,
    Outcome,
    Result,
    interrupts,
    keep,
    kept,
    outcome_of,
    tell,
)
from optuna_ga._running.progress import progress_bar

Evaluate = Callable[[list[Trial]], Iterable[Result | NoResult | tuple[Trial, Any]]]
Callback = Callable[[Study, FrozenTrial], None]

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_STARTED = (TrialState.RUNNING, *_FINISHED)

_logger = optuna.logging.get_logger("optuna.generations")


def optimize_generations(
    study: Study,
    evaluate: Evaluate,
    n_generations: int,
    *,
    population_size: int | None = None,
    timeout: float | None = None,
    catch: Iterable[type[Exception]] | type[Exception] = (),
    callbacks: Iterable[Callback] | None = None,
    show_progress_bar: bool = False,
) -> None:
    """Optimize a study by whole generations, each evaluated by one call.

    With `GASampler` the study is a function of the seed and the objective alone. However a
    generation is evaluated, and however often the run is interrupted and started again, every
    trial has the same parameters, parents and value. Other samplers work too.

    A second call resumes the study: `n_generations` is the total. It first completes the
    generation that an interrupted run left unfinished. Trials that are still running keep their
    numbers and suggested parameters and are evaluated again, so only one call may work on a study
    at a time. Enqueued trials come first, as with `Study.ask`.

    Whatever interrupts the call (a kill, Ctrl-C, SystemExit, a broken executor, a storage out of
    reach) leaves trials without a result running. An iterator's results are kept on their trials
    as they come, so an interruption costs at most the evaluations that were under way; these
    include a process pool's queue, one more than it has workers. Trials that are trained together
    and return a list start again together. A generation is told once it is complete, so samplers
    and pruners never depend on which trial was faster.

    Args:
        study: The study.
        evaluate: Evaluates one generation: takes its trials in the order of their numbers,
            suggests their parameters, and returns a sequence or an iterator with one result per
            trial, in the same order or as pairs `(trial, result)` in any order. A result is the
            value or values; an `optuna.TrialPruned` for a pruned trial; or another exception, NaN
            or None for a failed trial. For an ordinary objective, `lambda trials: map(objective,
            trials)` evaluates trial after trial, and `InParallel` several at once. An exception
            that `map` raises is the result of its trial; if `evaluate` itself or a generator
            raises, that of every trial without a result.
        n_generations: Total number of generations, at least 1.
        population_size: Trials in a generation, 1 to 1,000,000. None takes the sampler's.
        timeout: No generation starts after this many seconds, at least 0. None sets no limit. A
            generation that has started is not ended, not even if one of its trials hangs.
        catch: Exceptions of failed trials that do not end the optimization. Other exceptions are
            raised once all trials of the generation are told. Interruptions are always raised.
        callbacks: Called with the study and each finished trial, in trial order. Callbacks and
            `evaluate` may call `study.stop()` in this thread; then no further generation starts.
        show_progress_bar: Whether to show the trials done, the time left, the generation and the
            best value, or with several objectives the size of the front, on a terminal or in a
            notebook.

    Raises:
        TypeError: If an argument has the wrong type; if `evaluate` returns neither a sequence nor
            an iterator; or if a result is neither a value, an exception nor None: that trial
            fails and the other trials are told.
        ValueError: If an argument is out of range; if `population_size` is missing and the
            sampler has none; if the workers of `InParallel` cannot reach the study; or if the
            number of results differs from the number of trials, all of which fail then.
        RuntimeError: If this thread is already optimizing the study; if another call, which must
            not work on the same study, finishes its trials; or if `evaluate` or a generator raises
            a TrialPruned, which cannot stand for several trials.
        BaseException: Whatever interrupts the call; run again to continue.
    """
    check_study(study)
    check_evaluate(evaluate)
    size = population_size_of(study, population_size)
    total = size * check_int("n_generations", n_generations, minimum=1)
    limit = math.inf if timeout is None else timeout
    end = monotonic() + check_at_least_zero("timeout", limit, " of seconds")
    caught = exceptions(catch)
    called = functions(callbacks)
    is_shown = check_bool("show_progress_bar", show_progress_bar)
    if isinstance(evaluate, InParallel):
        evaluate.check(study)
    n_finished = len(study.get_trials(deepcopy=False, states=_FINISHED))
    with (
        optimization_loop(study),
        progress_bar(is_shown, total=total, initial=n_finished, unit="trial") as progress,
    ):
        observers = [*called, _advance(progress, size)]
        for trials in _generations(study, size, total):
            error = evaluate_and_tell(study, evaluate, trials, observers)
            if error is not None and not isinstance(error, caught):
                raise error
            if is_stopped(study) or monotonic() >= end:
                break


def evaluate_and_tell(
    study: Study,
    evaluate: Evaluate,
    trials: Sequence[Trial],
    observers: Sequence[Callback] = (),
) -> BaseException | None:
    """Evaluate trials together, tell each result, and return the first error, if any.

    Trials that got a result before an interruption are not evaluated again.

    Raises:
        BaseException: Whatever interrupts the evaluation. Then no trial is told, and the results
            that have come are kept on their trials.
    """
    outcomes = {trial.number: found for trial in trials if (found := kept(trial)) is not None}
    missing = [trial for trial in trials if trial.number not in outcomes]
    try:
        outcomes.update(_evaluate(evaluate, missing) if missing else {})
        _raise_if_lost(missing, outcomes)
    except BaseException as interruption:
        _advise(interruption, missing)
        raise
    return _tell(study, trials, [outcomes[trial.number] for trial in trials], observers)


def _raise_if_lost(trials: Sequence[Trial], outcomes: Mapping[int, Outcome]) -> None:
    """Raise the first interruption among the outcomes, if any, and keep the others."""
    found = [(trial, outcomes[trial.number]) for trial in trials]
    errors = [outcome.error for _, outcome in found if outcome.state == TrialState.RUNNING]
    if errors and errors[0] is not None:
        for trial, outcome in found:
            if outcome.state.is_finished():
                keep(trial, outcome)
        raise errors[0]


def _advise(interruption: BaseException, trials: Sequence[Trial]) -> None:
    """Say how to go on after an interruption, in the log and in a note on it."""
    numbers = ", ".join(str(trial.number) for trial in trials)
    advice = (
        f"The evaluation of the trials {numbers} was interrupted. They stay running, and the "
        "results that have come are kept: run again to evaluate the others and to continue."
    )
    _logger.warning(advice)
    if hasattr(interruption, "add_note"):  # Since Python 3.11.
        interruption.add_note(advice)


def _generations(study: Study, size: int, total: int) -> Iterator[list[Trial]]:
    """Yield the trials to evaluate together, until the study has `total` started trials."""
    trials = running_trials(study)
    n_started = len(study.get_trials(deepcopy=False, states=_STARTED))
    while trials or n_started < total:
        # Complete a started generation first. If all its trials have started, evaluate only the
        # running ones.
        n_missing = -n_started % size or (0 if trials else size)
        n_missing = min(n_missing, max(total - n_started, 0))
        _ask(study, n_missing, trials)
        n_started += n_missing
        yield sorted(trials, key=attrgetter("number"))
        trials = []


def _ask(study: Study, n: int, trials: list[Trial]) -> None:
    """Ask for `n` trials and append them; if the sampler raises, all new trials fail.

    This includes a trial that was created but not returned. Trials that a killed run left running
    stay running for the next call, and so do the new ones if asking is interrupted.
    """
    resumed = {trial.number for trial in trials}
    try:
        for _ in range(n):
            trials.append(study.ask())
    except Exception as error:
        if interrupts(error):
            raise
        for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            if trial.number not in resumed:
                study.tell(trial.number, state=TrialState.FAIL)
        raise


def _evaluate(evaluate: Evaluate, trials: Sequence[Trial]) -> dict[int, Outcome]:
    """Return each trial's outcome by its number; keep on the trials what an iterator yields.

    An exception of `evaluate` is the result of every trial.

    Raises:
        BaseException: Whatever interrupts `evaluate`.
        TypeError: If `evaluate` takes its list for a trial.
    """
    outcomes: dict[int, Outcome] = {}
    given = list(trials)  # A copy, since `evaluate` may change its list.
    try:
        results = evaluate(given)
        # An interruption ends the iterator, which cancels trials that wait in an executor.
        with closing(matched_results(trials, checked_results(results, trials))) as matched:
            for trial, result in matched:
                outcome = outcomes[trial.number] = outcome_of(trial, result)
                if isinstance(results, Iterator) and outcome.state.is_finished():
                    keep(trial, outcome)
    except Exception as error:
        if interrupts(error):
            raise
        if isinstance(error, AttributeError) and error.obj is given:
            raise TypeError(f"{OBJECTIVE_GIVEN}; see the error above.") from error
        return {trial.number: outcome_of(trial, error_of_several(error)) for trial in trials}
    return outcomes


def _tell(
    study: Study,
    trials: Sequence[Trial],
    outcomes: Sequence[Outcome],
    observers: Sequence[Callback],
) -> BaseException | None:
    """Tell each trial its result, in trial order, and return the first error, if any."""
    n_told = 0
    try:
        for trial, outcome in zip(trials, outcomes, strict=True):
            finished = tell(study, trial, outcome)
            n_told += 1
            _log(study, finished, outcome)
            for observe in observers:
                observe(study, finished)
    finally:  # Even if an observer raises or the user interrupts, no result is lost.
        for trial, outcome in zip(trials[n_told:], outcomes[n_told:], strict=True):
            study.tell(trial, outcome.values, outcome.state, skip_if_finished=True)
    return next((outcome.error for outcome in outcomes if outcome.error is not None), None)


def _log(study: Study, trial: FrozenTrial, outcome: Outcome) -> None:
    if outcome.state == TrialState.COMPLETE:
        if _logger.isEnabledFor(logging.INFO):  # Looking for the best trial may take a query.
            _logger.info(_completed(study, trial))
    elif outcome.state == TrialState.PRUNED:
        _logger.info(f"Trial {trial.number} pruned. {outcome.reason}")
    else:
        _logger.warning(
            f"Trial {trial.number} failed with parameters {trial.params}: {outcome.reason}"
        )


def _completed(study: Study, trial: FrozenTrial) -> str:
    """Return the line of the log on a complete trial, as `Study.optimize` writes it."""
    values = f"value: {trial.value}" if len(study.directions) == 1 else f"values: {trial.values}"
    line = f"Trial {trial.number} finished with {values} and parameters: {trial.params}."
    with suppress(ValueError, RuntimeError):  # No trial is feasible yet; several objectives.
        best = study.best_trial
        line += f" Best is trial {best.number} with value: {best.value}."
    return line


def _advance(progress: tqdm[Any], size: int) -> Callback:
    """Return a callback that advances the progress bar by one trial."""

    def advance(study: Study, trial: FrozenTrial) -> None:
        progress.set_description(f"generation {trial.number // size}", refresh=False)
        if len(study.directions) > 1:
            if trial.number % size == size - 1 and not progress.disable:  # It sorts all trials.
                front = f"{len(study.best_trials)} in the front"
                progress.set_postfix_str(front, refresh=False)
        elif trial.state == TrialState.COMPLETE:
            with suppress(ValueError):  # No trial is feasible yet.
                progress.set_postfix_str(f"best {study.best_value:.6g}", refresh=False)
        progress.update()

    return advance

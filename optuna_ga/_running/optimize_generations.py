"""`optimize_generations`: ask for a generation, evaluate it in one call, tell the results."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from operator import attrgetter
from time import monotonic

import optuna
from optuna import Trial
from optuna.study import Study
from optuna.trial import TrialState

from optuna_ga._checks import check_at_least_zero, check_bool, check_int, check_study
from optuna_ga._optuna_internals import is_stopped, optimization_loop, running_trials
from optuna_ga._running.arguments import (
    check_evaluate,
    exceptions,
    functions,
    generation_size_of,
    warn_of_default_sampler,
)
from optuna_ga._running.evaluate_and_tell import Callback, Evaluate, evaluate_and_tell
from optuna_ga._running.in_parallel import search_with
from optuna_ga._running.outcome import interrupts
from optuna_ga._running.progress_bar import advancing, progress_bar

_logger = optuna.logging.get_logger("optuna.generations")

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_STARTED = (TrialState.RUNNING, *_FINISHED)


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
    trial has the same parameters, parents and value; `docs/explanation/guarantees.md` has the
    exceptions. Other samplers work too.

    A second call resumes the study: `n_generations` is the total. It first completes the
    generation that an interrupted run left unfinished. Trials that are still running keep their
    numbers and suggested parameters and are evaluated again, so only one call may work on a study
    at a time. Enqueued trials come first, as with `Study.ask`.

    Whatever interrupts the call (a kill, Ctrl-C, SystemExit, a broken executor, a storage out of
    reach) leaves trials without a result running. An iterator's results are kept on their trials
    as they come, so an interruption costs at most the evaluations that were under way; these
    include a process pool's queue, one more than it has workers. Trials that are trained together
    and return a list start again together, and a trial whose error ends the search does so again.
    A generation is told once it is complete, so samplers do not depend on which trial was faster;
    pruners that look at running trials do.

    Args:
        study: The study.
        evaluate: Evaluates one generation: takes its trials in the order of their numbers,
            suggests their parameters, and returns a sequence or an iterator with one result per
            trial, in the same order or as pairs `(trial, result)` in any order. A result is the
            value or values; an `optuna.TrialPruned` for a pruned trial; or another exception, NaN
            or None for a failed trial. For an ordinary objective, `lambda trials: map(objective,
            trials)` evaluates trial after trial, and `InParallel` several at once. An exception
            that `map` raises is the result of its trial, a StopIteration included; if `evaluate`
            itself or a generator raises, that of every trial without a result.
        n_generations: Total number of generations, at least 1.
        population_size: Trials in a generation, 1 to 1,000,000. None takes the sampler's.
        timeout: No further generation starts after this many seconds, at least 0; the first one
            starts in any case. None sets no limit. A generation that has started is not ended, not
            even if one of its trials hangs.
        catch: Exceptions of failed trials that do not end the optimization. Other exceptions are
            raised once all trials of the generation are told. Interruptions are always raised.
        callbacks: Called with the study and each finished trial, in trial order. Callbacks and
            `evaluate` may call `study.stop()` in this thread; then no further generation starts,
            also after an interruption, unless that comes once all trials are told. Trials that
            callbacks add count as members of the next generation.
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
        Exception: The first error of a callback or of the sampler; no result is lost.
        BaseException: Whatever interrupts the call; run again to continue.
    """
    check_study(study)
    check_evaluate(evaluate)
    size = generation_size_of(study, population_size)
    total = size * check_int("n_generations", n_generations, minimum=1)
    limit = math.inf if timeout is None else timeout
    end = monotonic() + check_at_least_zero("timeout", limit, " of seconds")
    caught = exceptions(catch)
    called = functions(callbacks)
    is_shown = check_bool("show_progress_bar", show_progress_bar)
    n_finished = len(study.get_trials(deepcopy=False, states=_FINISHED))
    if n_finished >= total and not running_trials(study):
        _logger.info(
            f"Nothing to evaluate: {n_generations} generations of {size} trials are the total, "
            f"and {n_finished} trials have finished."
        )
    else:
        warn_of_default_sampler(study)
    with (
        search_with(evaluate, study),
        optimization_loop(study),
        progress_bar(is_shown, total=total, initial=n_finished, unit="trial") as progress,
    ):
        observers = [*called, advancing(progress, size)]
        for trials in _generations(study, size, total):
            error = evaluate_and_tell(study, evaluate, trials, observers, caught)
            if error is not None:
                raise error
            if is_stopped(study) or monotonic() >= end:
                break


def _generations(study: Study, size: int, total: int) -> Iterator[list[Trial]]:
    """Yield the trials to evaluate together, until the study has `total` started trials."""
    trials = running_trials(study)
    # Count anew for each generation, since callbacks may add trials.
    while (n_started := _n_started(study)) < total or trials:
        # Complete a generation before trials of the next one start.
        is_late = any(trial.number // size < n_started // size for trial in trials)
        n_missing = 0 if is_late else size - n_started % size
        _ask(study, min(n_missing, max(total - n_started, 0)), trials)
        yield sorted(trials, key=attrgetter("number"))
        trials = []


def _n_started(study: Study) -> int:
    return len(study.get_trials(deepcopy=False, states=_STARTED))


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

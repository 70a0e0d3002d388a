"""The note of `DashboardReport`: a summary of a study in optuna-dashboard's Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from optuna_ga._optuna_internals import free_sampler, locate
from optuna_ga._pbt.lineage import lineage_of
from optuna_ga._population.fitness import first_front, fittest, rank
from optuna_ga._records import CHECKPOINT, shown_generation, shown_sampler
from optuna_ga._results.final_generation import (
    best_of_final_generation,
    front_of_final_generation,
)
from optuna_ga._results.history import edges_of, generation_of, median, value_of
from optuna_ga._results.ignored import ignored_trials
from optuna_ga._sampler import GASampler

HEADING = "# Report of optuna_ga"

# Limits of the table of generations. A link to a generation lists all its trials, so a large
# generation gets none.
_MAX_ROWS = 50
_MAX_VALUES = 100  # Rows of a table of parameters.
_MAX_LENGTH = 300  # Characters of a value.
_MAX_LINKED_TRIALS = 50
# Columns of the tables. A state of unfinished trials has one where there are such trials.
_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
    "waiting": TrialState.WAITING,
}


def note_text(
    study: Study,
    size: int | None,
    missing: Sequence[str] = (),
    ignored: Sequence[int] = (),
    *,
    running: bool = False,
) -> str:
    """Return the note from its heading on, as Markdown.

    Args:
        study: The study.
        size: Number of trials in a generation; None if the study has no generations.
        missing: Names of the figures that are too large to be shown.
        ignored: Numbers of the trials that the model ignores.
        running: Whether the study's sampler suggests its trials. A study that was loaded to be
            looked at has Optuna's default sampler.
    """
    trials = study.get_trials(deepcopy=False)
    # The dashboard's list of trials, to which numbers are appended. Its addresses contain the
    # study's id in the storage.
    link = f"/dashboard/studies/{locate(study)[1]}/trials?numbers="
    best = "Front" if len(study.directions) > 1 else "Best"
    parts = [HEADING, _samplers(study, trials, size, running)]
    parts += [f"## {best} of the study", _best(study, link)]
    if ignored:
        parts += ["## Ignored by the model", _ignored(ignored, link)]
    if size is None:
        states = _counted_states(trials)
        parts += ["## Trials", _table(["trials", *states], [_counts(trials, states)])]
    else:
        # An adaptive search breeds from all trials, so that its generations have no answers.
        if not _is_adaptive(_sampler_text(study)):
            parts += [f"## {best} of the final generation", _final(study, link)]
            if any(CHECKPOINT in trial.user_attrs for trial in trials):
                parts += ["## Its schedule", _schedule(study, link)]
        parts += ["## Generations", _generations(trials, size, study.directions, link)]
    if missing:
        parts.append(f"A generation is too large for these figures: {', '.join(missing)}.")
    return "\n\n".join(parts)


def ignored_by_model(study: Study, *, running: bool = False) -> list[int]:
    """Return the numbers of the trials that the model of the study's sampler ignores, if any.

    Args:
        study: The study.
        running: Whether the study's sampler suggests its trials; else the recorded one counts.
    """
    if running and not isinstance(free_sampler(study), GASampler):
        return []
    sampler = _sampler_text(study)
    has_model = _is_adaptive(sampler) and "surrogate=True" in sampler
    return [trial.number for trial in ignored_trials(study)] if has_model else []


def _sampler_text(study: Study) -> str:
    """Return the study's `GASampler`, or else the recorded one; empty if there is none."""
    sampler = free_sampler(study)
    return repr(sampler) if isinstance(sampler, GASampler) else shown_sampler(study) or ""


def _is_adaptive(sampler: str) -> bool:
    return ".adaptive(" in sampler or "AdaptiveSettings(" in sampler


def _samplers(study: Study, trials: Sequence[FrozenTrial], size: int | None, running: bool) -> str:
    """Return which samplers the study has and had, as far as is known."""
    sampler, known = free_sampler(study), _sampler_text(study)
    if isinstance(sampler, GASampler):
        lines = [f"New trials come from {_code(known)}."]
    else:
        lines = [f"The latest sampler of `optuna_ga` was {_code(known)}."] if known else []
        if running or not lines:
            lines.append(f"New trials come from {_code(type(sampler).__name__)}.")
    started = [trial for trial in trials if trial.state != TrialState.WAITING]
    n_own = sum(shown_generation(trial) is not None for trial in started)
    if size is not None and n_own < len(started):
        lines.append(
            f"{n_own} of {len(started)} trials have the attributes of `optuna_ga`; the others are "
            "from other samplers, were added, or were not recorded."
        )
    return " ".join(lines)


def _best(study: Study, link: str) -> str:
    if len(study.directions) > 1:
        return _front(study.best_trials, link)
    try:
        return _described(study.best_trial, study.directions, link)
    except ValueError:
        return "No trial is complete and feasible yet."


def _ignored(numbers: Sequence[int], link: str) -> str:
    """Return which trials the model ignores."""
    links = [f"[{number}]({link}{number})" for number in numbers[:_MAX_VALUES]]
    if len(numbers) > _MAX_VALUES:
        links.append(f"and {len(numbers) - _MAX_VALUES} more")
    return (
        f"Far worse than the model predicts from the other trials: {', '.join(links)}. They stay "
        "in the study, and later results may bring them back to the model."
    )


def _final(study: Study, link: str) -> str:
    try:
        if len(study.directions) > 1:
            return _front(front_of_final_generation(study), link)
        return _described(best_of_final_generation(study), study.directions, link)
    except ValueError as error:  # No generation has finished, or all its trials failed.
        return str(error)


def _front(trials: Sequence[FrozenTrial], link: str) -> str:
    """Return the table of a front's trials and values, sorted by the values."""
    if not trials:
        return "No trial is complete and feasible yet."
    ordered = sorted(trials, key=lambda trial: (trial.values or [], trial.number))
    rows = [
        [f"[{trial.number}]({link}{trial.number})", *map(_number, trial.values or ())]
        for trial in ordered[:_MAX_VALUES]
    ]
    n_values = max(len(trial.values or ()) for trial in trials)
    if len(trials) > _MAX_VALUES:
        rows.append([f"and {len(trials) - _MAX_VALUES} more", *[""] * n_values])
    return _table(["trial", *(f"value {i}" for i in range(n_values))], rows)


def _schedule(study: Study, link: str) -> str:
    """Return the parameters along the lineage of the final generation's best, by segment."""
    try:
        lineage = lineage_of(study, best_of_final_generation(study))
    except ValueError as error:  # No generation has finished, or lineages are not recorded.
        return str(error)
    names = sorted({name for segment in lineage for name in segment.params})[:_MAX_VALUES]
    rows = [
        [
            str(position),
            f"[{segment.number}]({link}{segment.number})",
            *(_code(segment.params[name]) if name in segment.params else "" for name in names),
            _number(segment.value),
        ]
        for position, segment in enumerate(lineage)
    ]
    if len(rows) > _MAX_ROWS:
        earlier = f"and {len(rows) - _MAX_ROWS} earlier"
        rows = [[earlier, *[""] * (len(rows[0]) - 1)], *rows[-_MAX_ROWS:]]
    return _table(["segment", "trial", *map(_code, names), "value"], rows)


def _described(trial: FrozenTrial, directions: Sequence[StudyDirection], link: str) -> str:
    summary = f"Trial [{trial.number}]({link}{trial.number}), value {_number(value_of(trial))}"
    summary += _reservation(trial, directions)
    edges = ", ".join(f"{_code(name)} ({edge})" for name, edge in edges_of(trial).items())
    hint = f"\n\nAt an end of the range: {edges}. A wider range may hold better values."
    return f"{summary}\n\n{_params_table(trial.params)}{hint if edges else ''}"


def _generations(
    trials: Sequence[FrozenTrial], size: int, directions: Sequence[StudyDirection], link: str
) -> str:
    """Return the table of the last generations, the latest first."""
    # Runs of trials, since after another population size the numbers may begin again.
    runs = groupby(trials, lambda trial: generation_of(trial, size))
    generations = [(number, list(own)) for number, own in runs][::-1]
    summaries: dict[str, Callable[[Sequence[FrozenTrial]], str]]
    if len(directions) > 1:
        finished = [trial for trial in trials if trial.state.is_finished()]
        front = {trial.number for trial in first_front(finished, directions)}
        summaries = {"in the front": lambda own: str(sum(t.number in front for t in own))}
    else:
        summaries = {
            "best": partial(_best_value, directions, link),
            "median": partial(_median_value, directions),
        }
    states = _counted_states(trials)
    rows = [_row(number, own, states, summaries, link) for number, own in generations[:_MAX_ROWS]]
    if len(generations) > _MAX_ROWS:
        earlier = f"and {len(generations) - _MAX_ROWS} earlier"
        rows.append([earlier, *[""] * (len(rows[0]) - 1)])
    return _table(["generation", "trials", *states, *summaries], rows)


def _row(
    generation: int,
    trials: Sequence[FrozenTrial],
    states: Iterable[str],
    summaries: Mapping[str, Callable[[Sequence[FrozenTrial]], str]],
    link: str,
) -> list[str]:
    name = str(generation)
    if len(trials) <= _MAX_LINKED_TRIALS:
        name = f"[{name}]({link}{','.join(str(trial.number) for trial in trials)})"
    return [name, *_counts(trials, states), *(summary(trials) for summary in summaries.values())]


def _best_value(
    directions: Sequence[StudyDirection], link: str, trials: Sequence[FrozenTrial]
) -> str:
    best = fittest((trial for trial in trials if trial.state.is_finished()), 1, directions)
    return "".join(
        f"[{_number(value_of(trial))}]({link}{trial.number}){_reservation(trial, directions)}"
        for trial in best
    )


def _median_value(directions: Sequence[StudyDirection], trials: Sequence[FrozenTrial]) -> str:
    """Return the median of the complete and feasible trials, as `plot_fitness` shows it."""
    ranks = [(trial, rank(trial, directions)) for trial in trials]
    found = [trial.value for trial, key in ranks if key is not None and key.is_candidate]
    values = [value for value in found if value is not None and math.isfinite(value)]
    return _number(median(values)) if values else ""


def _reservation(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> str:
    """Return in brackets why a trial cannot be the best of the study, if so."""
    key = rank(trial, directions)
    if key is None or key.is_candidate:
        return ""
    return " (pruned)" if key.violation == 0.0 else " (infeasible)"


def _counted_states(trials: Sequence[FrozenTrial]) -> list[str]:
    """Return the names of the states that have a column in the tables of these trials."""
    found = {trial.state for trial in trials}
    return [name for name, state in _STATES.items() if state.is_finished() or state in found]


def _counts(trials: Sequence[FrozenTrial], states: Iterable[str]) -> list[str]:
    """Return the number of trials, then the number in each of these states."""
    counts = Counter(trial.state for trial in trials)
    return [str(len(trials)), *(str(counts[_STATES[name]]) for name in states)]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"


def _params_table(params: Mapping[str, Any]) -> str:
    rows = [[_code(key), _code(value)] for key, value in islice(params.items(), _MAX_VALUES)]
    if len(params) > _MAX_VALUES:
        rows.append([f"and {len(params) - _MAX_VALUES} more", ""])
    return _table(["parameter", "value"], rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, [":---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(value: object) -> str:
    """Return a value as inline code that is safe in a cell of a Markdown table."""
    text = " ".join(str(value).split()).replace("`", "'")
    if len(text) > _MAX_LENGTH:
        text = f"{text[: _MAX_LENGTH - 1]}…"
    text = text.replace("|", "\\|")
    return f"`{text}`"

"""The cost of one more trial of a long study on PostgreSQL."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial

import optuna
import sqlalchemy
from optuna import Study
from optuna.samplers import BaseSampler, RandomSampler

from benchmarks.performance.overhead import interval_of_median
from benchmarks.workers.common import (
    SEED,
    SIZE,
    Row,
    evaluate,
    figure,
    open_storage,
)
from optuna_ga import GASampler
from tests import servers

_CLONE = """
insert into trials (trial_id, number, study_id, state, datetime_start, datetime_complete)
    select trial_id + :n * i, number + :n * i, study_id, state,
        datetime_start + i * interval '1 hour', datetime_complete + i * interval '1 hour'
    from trials join studies using (study_id), generate_series(1, :copies) as i
    where study_name = :study;
insert into trial_params (trial_id, param_name, param_value, distribution_json)
    select trial_id + :n * i, param_name, param_value, distribution_json
    from trial_params join trials using (trial_id) join studies using (study_id),
        generate_series(1, :copies) as i
    where study_name = :study and number < :n;
insert into trial_values (trial_id, objective, value, value_type)
    select trial_id + :n * i, objective, value, value_type
    from trial_values join trials using (trial_id) join studies using (study_id),
        generate_series(1, :copies) as i
    where study_name = :study and number < :n;
select setval('trials_trial_id_seq', (select max(trial_id) from trials));
"""


def suggestion(n_trials: int = 100_000, n_turns: int = 25, per_turn: int = 20) -> Iterator[Row]:
    """Time one more trial of a long study; its trials are copies of its first hundredth."""
    makers: dict[str, Callable[[], BaseSampler]] = {
        "RandomSampler": partial(RandomSampler, SEED),
        "GASampler": partial(GASampler, SIZE, seed=SEED),
    }
    with servers.postgresql() as url, servers.opened(open_storage(url)) as storage:
        studies = {}
        for name in makers:
            studies[name] = optuna.create_study(storage=storage, study_name=name)
            studies[name].optimize(evaluate, n_trials=n_trials // 100)
            _multiply(url, studies[name], 99)
        first_s, seconds = {}, {}
        for name, make in makers.items():
            with servers.opened(open_storage(url)) as own:
                study = optuna.load_study(study_name=name, storage=own, sampler=make())
                first_s[name] = _seconds(study, 1)
        for name, make in makers.items():
            studies[name].sampler = make()
            _seconds(studies[name], SIZE)
            seconds[name] = list[float]()
        for _ in range(n_turns):
            for name, study in studies.items():
                seconds[name].append(_seconds(study, per_turn))
    ratios = [
        ga / rs for ga, rs in zip(seconds["GASampler"], seconds["RandomSampler"], strict=True)
    ]
    low, high = interval_of_median(ratios)
    case = f"{n_trials} trials on PostgreSQL"
    median = round(statistics.median(ratios), 3)
    yield figure(case, "time per trial, times RandomSampler's", median, n_turns, at_most=1.6)
    yield figure(case, "the same, lower end of the interval", round(low, 3), n_turns)
    yield figure(case, "the same, upper end of the interval", round(high, 3), n_turns)
    for name, s in first_s.items():
        yield figure(case, f"seconds of the first trial of a new process, {name}", round(s, 3), 1)


def _multiply(url: str, study: Study, copies: int) -> None:
    n = len(study.trials)
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        # The copies' ids follow the originals', so that no other process may add trials.
        for statement in filter(str.strip, _CLONE.split(";")):
            connection.execute(
                sqlalchemy.text(statement), {"n": n, "copies": copies, "study": study.study_name}
            )
    engine.dispose()


def _seconds(study: Study, n_trials: int) -> float:
    start = time.perf_counter()
    for _ in range(n_trials):
        trial = study.ask()
        study.tell(trial, evaluate(trial))
    return time.perf_counter() - start

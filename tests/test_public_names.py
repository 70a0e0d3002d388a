"""Public names, imports and records of the package."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage

import optuna_ga
from tests.studies import OpenDatabase, of_four, run

PACKAGE = Path(optuna_ga.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
OWN = ("self", "cls", "super()")
ALLOWED = {"_asdict", "_replace"}  # Documented methods of named tuples.


def is_private(name: str) -> bool:
    """Return whether a name begins with one underscore."""
    return name.startswith("_") and not name.startswith("__")


def root(attribute: ast.Attribute) -> str:
    """Return the name at which a chain of attributes begins, or its expression."""
    value = attribute.value
    while isinstance(value, ast.Attribute):
        value = value.value
    return ast.unparse(value)


def foreign_private_names(source: str) -> set[str]:
    """Return the private names of other objects and of Optuna's modules that a source uses.

    Names that a class in the same source defines are its own, on whichever object they are read.
    """
    nodes = list(ast.walk(ast.parse(source)))
    attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
    libraries, used, own = set(), set(), set()
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            own |= {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names}
            module = str(node.module) if isinstance(node, ast.ImportFrom) else min(names)
            top = module.split(".")[0]
            if top == "optuna":
                used |= names | set(module.split("."))
            elif top != "optuna_ga":
                libraries |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    for attribute in attributes:
        if ast.unparse(attribute.value) == "self":
            own.add(attribute.attr)
        elif ast.unparse(attribute.value) not in OWN and root(attribute) not in libraries:
            used.add(attribute.attr)
    return {name for name in used if is_private(name)} - own - ALLOWED


def test_all_public_names_are_exported_in_order() -> None:
    """`__all__` is sorted, and no other name looks public."""
    public = [
        name
        for name, value in vars(optuna_ga).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    ]

    assert optuna_ga.__all__ == sorted(public)


@pytest.mark.parametrize("name", optuna_ga.__all__)
def test_every_public_class_and_function_is_documented(name: str) -> None:
    """Each has a docstring of its own."""
    exported = getattr(optuna_ga, name)

    assert exported.__doc__ or not callable(exported)


def test_packages_are_imported_at_their_first_use() -> None:
    """`import optuna_ga` is enough for the figures, and imports none of them."""
    code = """
import sys
import optuna_ga
assert "optuna_ga.visualization" not in sys.modules
print(optuna_ga.visualization.plot_fitness.__name__, "torch" in dir(optuna_ga))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "plot_fitness True\n"
    assert not hasattr(optuna_ga, "visualisation")


def test_importing_the_sampler_imports_nothing_heavy() -> None:
    """Neither what extras require nor what Optuna imports at its first use is imported."""
    code = "import json, sys, optuna_ga; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True, timeout=120
    ).stdout

    modules = {name.partition(".")[0] for name in json.loads(output)}
    assert "optuna_ga" in modules
    assert not modules & {
        "boto3", "matplotlib", "optuna_dashboard", "pandas", "plotly", "scipy", "sklearn",
        "sqlalchemy", "torch", "torchvision",
    }  # fmt: skip


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_of_others_stand_in_one_file(path: Path) -> None:
    """All that an update of Optuna may break is in `_optuna_internals.py`."""
    uses_some = bool(foreign_private_names(path.read_text()))

    assert uses_some == (path.name == "_optuna_internals.py")


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("study.sampler._settings", {"_settings"}),
        ("sampler._settings = 1", {"_settings"}),
        ("from optuna_ga import GASampler\nGASampler._set_up", {"_set_up"}),
        ("from torch import nn\nnn.modules.conv._ConvNd", set()),
        ("from optuna.storages._cached_storage import _CachedStorage as C", {"_cached_storage"}),
        ("self._settings + cls._new() + super()._new()", set()),
        ("class A:\n    def _b(self): ...\ndef c(a): return a._b()", set()),
        ("from optuna_ga._sampler import GASampler", set()),
    ],
)
def test_private_names_of_others_are_found(source: str, found: set[str]) -> None:
    """On any object but the own one, and in imports."""
    assert foreign_private_names(source) >= found
    assert bool(foreign_private_names(source)) == bool(found)


def test_nothing_is_recorded_if_not_wanted() -> None:
    """Without records, neither the trials nor the study have attributes."""
    study = run(of_four(record=False), 20)

    assert study.user_attrs == {}
    assert all(trial.user_attrs == {} == trial.system_attrs for trial in study.trials)


def test_a_search_is_the_same_without_records() -> None:
    """Recording changes nothing but the records."""
    recorded, unrecorded = (run(of_four(record=record), 40) for record in (True, False))

    for one, other in zip(recorded.trials, unrecorded.trials, strict=True):
        assert (one.params, one.values) == (other.params, other.values)


def test_a_database_takes_all_records(open_database: OpenDatabase) -> None:
    """Generations, parents, mutated genes, the population size and the sampler."""
    run(of_four(mutation_prob=1.0), 8, study_name="s", storage=open_database())
    study = optuna.load_study(study_name="s", storage=open_database())

    sampler = repr(of_four(mutation_prob=1.0))
    assert study.user_attrs == {"ga_population_size": 4, "ga_sampler": sampler}
    assert [set(trial.user_attrs) for trial in study.trials] == [
        *[{"ga_generation"}] * 4,
        *[{"ga_generation", "ga_parents", "ga_mutated"}] * 4,
    ]


class CountingStorage(InMemoryStorage):
    """A storage that counts the writes of each attribute of trials."""

    def __init__(self) -> None:
        super().__init__()
        self.written: Counter[tuple[int, str]] = Counter()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        self.written[trial_id, key] += 1
        super().set_trial_user_attr(trial_id, key, value)


def test_a_record_is_written_once() -> None:
    """Each write costs a database a commit; without mutated genes there is none."""
    storage = CountingStorage()
    study = run(of_four(), 40, storage=storage)

    recorded = [(trial._trial_id, key) for trial in study.trials for key in trial.user_attrs]
    assert storage.written == Counter(recorded)
    assert {key for _, key in recorded} == {"ga_generation", "ga_parents", "ga_mutated"}
    assert all(trial.user_attrs.get("ga_mutated") != [] for trial in study.trials)


@pytest.mark.parametrize("record", [True, False])
def test_a_trial_without_parameters_has_no_parents(record: bool) -> None:
    """Parents are recorded with the first bred gene."""
    study = run(of_four(record=record), 12, lambda trial: 0.0)

    assert all("ga_parents" not in trial.user_attrs for trial in study.trials)

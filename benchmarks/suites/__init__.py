"""Suites of tasks on which samplers are compared, each with a part that nothing is tuned on."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.suites.task import Suite

# Imported by name when a suite is run: each needs packages of its own.
SUITES = {
    "bbob": "benchmarks.suites.bbob:BBOB",
    "bbob-mixint": "benchmarks.suites.bbob:BBOB_MIXINT",
    "discrete": "benchmarks.suites.discrete:DISCRETE",
    "pbo": "benchmarks.suites.pbo:PBO",
    "tables": "benchmarks.suites.tables:TABLES",
    "fashion-mnist-table": "benchmarks.suites.fashion_mnist_table:TABLE",
    "fashion-mnist-noise": "benchmarks.suites.fashion_mnist_table:NOISE",
    "sklearn-hpo": "benchmarks.suites.sklearn_hpo:SKLEARN_HPO",
    "conditional": "benchmarks.suites.conditional:CONDITIONAL",
    "constrained": "benchmarks.suites.constrained:CONSTRAINED",
    "needles": "benchmarks.suites.needles:NEEDLES",
    "failures": "benchmarks.suites.failures:FAILURES",
    "bad-values": "benchmarks.suites.failures:BAD_VALUES",
    "pruned": "benchmarks.suites.pruned:PRUNED",
    "bbob-biobj": "benchmarks.suites.bbob_biobj:BBOB_BIOBJ",
    "failures-biobj": "benchmarks.suites.failures_biobj:FAILURES_BIOBJ",
    "front": "benchmarks.suites.front:FRONT",
    "constrained-front": "benchmarks.suites.constrained_front:CONSTRAINED_FRONT",
    "trade-offs": "benchmarks.suites.trade_offs:TRADE_OFFS",
    "table-trade-offs": "benchmarks.suites.table_trade_offs:TABLE_TRADE_OFFS",
}


def load_suite(name: str) -> Suite:
    """Return a suite.

    Raises:
        ImportError: If a package that it needs is missing.
    """
    try:
        suite: Suite = resolve_name(SUITES[name])
    except ImportError as error:
        raise ImportError(
            f'{error}; `pip install -e ".[benchmark]"` installs all that is needed'
        ) from error
    return suite

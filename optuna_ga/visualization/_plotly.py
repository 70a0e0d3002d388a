"""Plotly, or an ImportError that says how to install it."""

from __future__ import annotations

try:
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots
except ImportError as error:
    raise ImportError(
        "`optuna_ga.visualization` needs Plotly, which is not installed. "
        'Run `pip install -e ".[visualization]"`.'
    ) from error

__all__ = ["go", "make_subplots"]

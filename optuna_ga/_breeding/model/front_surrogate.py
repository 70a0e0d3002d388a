"""The surrogate of several objectives: the candidate that may add most to the front is chosen.

Each objective has a model of its own. A candidate's optimistic point is the mean less one
deviation in each objective. Its rating is the hypervolume that this point would add to the front
of the known trials (SMS-EGO; Ponweiser et al. 2008, https://doi.org/10.1007/978-3-540-87700-4_78).
As there, a point must be better than the front by more than a margin: optimism alone promises a
little everywhere near the front's ends, where a little counts much, and trials would repeat them.
If no candidate adds any, the nearest to the front is chosen. With more than four objectives the
hypervolume takes too long: candidates are rated by the weighting by which their parents were
chosen. With constraints the front is that of the feasible trials, and the probability of being
feasible counts; see `constraints`.

Shapes: K candidates, R running trials, F points of the front, D parameters, M objectives.
"""

from __future__ import annotations

import math

import numpy as np

from optuna_ga._breeding.adaptive_settings import Tuning
from optuna_ga._breeding.known.trial_matrix import TrialMatrix
from optuna_ga._breeding.model.constraints import Function, with_feasibility
from optuna_ga._breeding.model.learnt_rows import learnt_rows
from optuna_ga._breeding.model.surrogate import Surrogate
from optuna_ga._breeding.weightings import distances
from optuna_ga._population.fronts import undominated
from optuna_ga._population.hypervolume import added_volumes

_MAX_OBJECTIVES = 4  # Of which the hypervolume is measured.
# In ranges of the front: how much better a point must be, and how far the reference point is.
_MIN_GAIN, _MARGIN = 0.03, 0.1
# With constraints: how far the reference point is at least from the ideal point, in deviations of
# the losses. The first feasible trials may lie close together.
_MIN_WIDTH = 2.0
_LEAST = 1e-13  # The least hypervolume that is told apart, in units of the model's scale.
_PROBABLE = math.log(0.5)  # From which probability on a running trial counts as feasible.


class FrontSurrogate:
    """Rates candidates by models of the finished trials, one for each objective.

    Args:
        tuning: Constants of the models.
        n_objectives: The number of objectives, M.
    """

    def __init__(self, tuning: Tuning, n_objectives: int) -> None:
        self._models = [Surrogate(tuning, objective) for objective in range(n_objectives)]

    def rating(self, matrix: TrialMatrix, running: np.ndarray, weights: np.ndarray) -> Function:
        """Return a function from candidates' genes `(K, D)` to ratings `(K,)`, higher for better.

        Args:
            matrix: The finished trials.
            running: Genes `(R, D)` of the running trials, which count as the models expect.
            weights: The weighting `(M,)` for many objectives.
        """
        feasibility = self._models[0].feasibility(matrix, running)
        if feasibility and not matrix.has_feasible:
            return feasibility
        predictions = [model.prediction(matrix, running) for model in self._models]
        expected = np.column_stack([predict(running)[0] for predict in predictions])
        if feasibility is not None:
            expected = expected[feasibility(running) > _PROBABLE]
        front = self._front(matrix, expected)

        def rate(candidates: np.ndarray) -> np.ndarray:
            columns = [
                mean - deviation
                for mean, deviation in (predict(candidates) for predict in predictions)
            ]
            points = np.column_stack(columns)
            if len(self._models) > _MAX_OBJECTIVES:
                return -distances(points, front, weights)
            if feasibility is None:
                return ratings(points, front)
            return _logarithmic(ratings(points, front, _MIN_WIDTH))

        return with_feasibility(rate, feasibility)

    def _front(self, matrix: TrialMatrix, expected: np.ndarray) -> np.ndarray:
        """Return the front `(F, M)` of the feasible trials and of expected losses `(R, M)`.

        If the models learn from no feasible trial, it is that of all.
        """
        known = np.column_stack([model.known_losses(matrix) for model in self._models])
        ranks = [matrix.ranks[row] for row in learnt_rows(matrix, len(matrix))]
        feasible = [rank is not None and rank.violation == 0.0 for rank in ranks]
        if any(feasible):
            known = known[feasible]
        known = np.vstack([known, expected])
        return np.asarray(known[undominated(known)])

    def outliers(self, matrix: TrialMatrix) -> list[int]:
        """Return the rows of the trials that are left out as outliers.

        They are the failed trials that all models leave out, and the others that any leaves out.
        """
        by_model = [{*model.outliers(matrix)} for model in self._models]
        failed = {row for row in set.union(*by_model) if matrix.ranks[row] is None}
        return sorted((set.union(*by_model) - failed) | set.intersection(*by_model))


def _logarithmic(found: np.ndarray) -> np.ndarray:
    """Return ratings `(K,)` in the same order, to which logarithms of probabilities can be added.

    Points that add no hypervolume are rated below those that add any.
    """
    added = np.log(np.maximum(found, _LEAST))
    return np.asarray(np.where(found > 0.0, added, math.log(_LEAST) + found))


def ratings(points: np.ndarray, front: np.ndarray, min_width: float = 0.0) -> np.ndarray:
    """Return the ratings `(K,)` of points `(K, M)`, higher for better.

    It is the hypervolume that a point adds to the front `(F, M)`, all of whose losses are lowered
    by the least gain; of a point that adds none, the negative of the least number by which all its
    losses must shrink until it does.
    """
    width = np.ptp(front, axis=0)
    front = front - _MIN_GAIN * width
    reference = front.max(axis=0) + _MARGIN * np.where(width > 0.0, width, 1.0)
    reference = np.maximum(reference, front.min(axis=0) + min_width)
    behind = (points[:, None] - front).min(axis=2).max(axis=1)
    behind = np.maximum(behind, (points - reference).max(axis=1))
    found, adding = -behind, behind < 0.0
    found[adding] = added_volumes(points[adding], front, reference)
    return np.asarray(found)

"""A multi-objective search by Optuna, whose study stands in the sweep's own file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna

from tilewright.errors import TilewrightError
from tilewright.sweep.digest import digest
from tilewright.sweep.evaluate import Evaluator
from tilewright.sweep.explore import Design, assess
from tilewright.sweep.request import Request
from tilewright.sweep.space import Point
from tilewright.sweep.store import Store

__all__ = ["search"]

_BATCH = 8
"""Points that are measured at once."""

Distributions = dict[str, optuna.distributions.BaseDistribution]


def search(
    request: Request, evaluator: Evaluator, store: Store, baseline: float | None
) -> list[Point]:
    """Let Optuna choose points of the space until there are `request.points` of them; gives them all.

    Points that the study knows already, from a grid or another search, are told to Optuna first.
    """
    distributions: Distributions = {
        name: optuna.distributions.CategoricalDistribution(values)
        for name, values in request.space.axes().items()
    }
    study = _study(request, evaluator, store, distributions)
    known = [point for point in store.points(evaluator.study) if _within(point, distributions)]
    told = {_name(trial.params) for trial in study.get_trials(deepcopy=False) if trial.values}
    fresh = [point for point in known if _name(_params(point, distributions)) not in told]
    for point, design in zip(fresh, _measure(fresh, request, evaluator, baseline), strict=True):
        if design.error is None:
            study.add_trial(
                optuna.trial.create_trial(
                    params=_params(point, distributions),
                    distributions=distributions,
                    values=_values(design, request),
                    constraints=_constraints(design),
                )
            )
    asked = len(study.get_trials(deepcopy=False))
    while asked < request.points:
        trials = [study.ask(distributions) for _ in range(min(_BATCH, request.points - asked))]
        _try(study, trials, request, evaluator, store, baseline)
        asked += len(trials)
    return [point for point in store.points(evaluator.study) if _within(point, distributions)]


def _study(
    request: Request, evaluator: Evaluator, store: Store, distributions: Distributions
) -> optuna.Study:
    """The study of this network, space, objectives and constraints; others are another study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = request.seed
    sampler: optuna.samplers.BaseSampler
    if request.search == "tpe":
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    else:
        sampler = optuna.samplers.NSGAIISampler(seed=seed, population_size=2 * _BATCH)
    axes = {name: repr(found) for name, found in distributions.items()}
    space = digest(axes, request.constraints)
    names = ",".join(objective.name for objective in request.objectives)
    study = optuna.create_study(
        storage=f"sqlite:///{store.path.absolute()}",
        study_name=f"{evaluator.study}-{space}-{names}",
        directions=["maximize" if o.maximize else "minimize" for o in request.objectives],
        sampler=sampler,
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.RUNNING]):
        # An interrupted sweep's: what was measured of it is known and costs nothing.
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _try(
    study: optuna.Study,
    trials: Sequence[optuna.Trial],
    request: Request,
    evaluator: Evaluator,
    store: Store,
    baseline: float | None,
) -> None:
    """Measure what Optuna asked for; what cannot be built or run fails."""
    built: list[tuple[optuna.Trial, Point]] = []
    for trial in trials:
        try:
            built.append((trial, request.space.point(trial.params)))
        except TilewrightError:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
    points = [point for _, point in built]
    store.remember(evaluator.study, points)
    designs = _measure(points, request, evaluator, baseline)
    for (trial, _), design in zip(built, designs, strict=True):
        if design.error is not None:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        for name, value in _constraints(design).items():
            trial.set_constraint(name, value)
        study.tell(trial, _values(design, request))


def _measure(
    points: Sequence[Point], request: Request, evaluator: Evaluator, baseline: float | None
) -> list[Design]:
    return [
        assess(point, result, baseline, request.constraints)
        for point, result in zip(points, evaluator.points(points), strict=True)
    ]


def _values(design: Design, request: Request) -> list[float]:
    values = [design.values[objective.name] for objective in request.objectives]
    for objective, value in zip(request.objectives, values, strict=True):
        if value is None:
            raise TilewrightError(
                f"Option --objective: {objective.name} is not known for {design}; leave it out"
            )
    return values


def _constraints(design: Design) -> dict[str, float]:
    """For the sampler: more than 0 where constraints are not met."""
    return {"excess": sum(design.violations.values())}


def _params(point: Point, distributions: Distributions) -> dict[str, Any]:
    return {name: value for name, value in point.axes.items() if name in distributions}


def _within(point: Point, distributions: Distributions) -> bool:
    """Whether a point lies in the space: each axis has its value."""
    return all(
        isinstance(found, optuna.distributions.CategoricalDistribution)
        and point.axes[name] in found.choices
        for name, found in distributions.items()
    )


def _name(params: dict[str, Any]) -> str:
    return repr(sorted(params.items()))

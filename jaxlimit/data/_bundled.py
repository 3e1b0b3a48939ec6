"""Real sets that scikit-learn brings along: nothing is downloaded."""

from typing import Any

import numpy as np

from jaxlimit._arguments import instance, items, optional_positive_integer, positive_integer, require
from jaxlimit.data._data import Data
from jaxlimit.data._synthetic import on_sphere


def digits(classes: tuple[int, int] = (3, 8), points: int = 20, unit_norm: bool = True) -> Data:
    """Handwritten digits of two classes, 8 × 8 pixels: 64 inputs, targets −1 (first class) and +1.

    The first `points` images of the two classes, taken in turn from each until one runs out, from the
    test set of the UCI optical digits bundled with scikit-learn (the `data` extra). Inputs have unit
    norm unless told otherwise. Raises ``ValueError`` if the classes are not two different digits or
    the set holds fewer images, ``ImportError`` without scikit-learn. Source: references `digits`.

        >>> import jaxlimit as jl
        >>> data = jl.data.digits(classes=(3, 8), points=20)
        >>> data.points, data.inputs, sorted(set(data.y.tolist()))
        (20, 64, [-1.0, 1.0])
    """
    wanted = items("classes", classes, "digits")
    whole = all(isinstance(c, int | np.integer) and not isinstance(c, bool) for c in wanted)
    valid = whole and len(wanted) == 2 and wanted[0] != wanted[1] and all(c in range(10) for c in wanted)
    require(valid, "classes", "be two different digits from 0 to 9", f"it is {classes!r}")
    points, unit_norm = positive_integer("points", points), instance("unit_norm", unit_norm, bool)
    bunch = _bundled().load_digits()
    members = [np.flatnonzero(bunch.target == c) for c in wanted]
    available = sum(len(m) for m in members)
    require(points <= available, "points", f"be at most {available} for classes {wanted}", f"it is {points}")
    # In turn from each class: position within the class first, class second.
    rank = np.concatenate([2 * np.arange(len(m)) + side for side, m in enumerate(members)])
    chosen = np.concatenate(members)[np.argsort(rank, kind="stable")][:points]
    x = bunch.data[chosen].astype(np.float64)
    return Data(on_sphere(x) if unit_norm else x, np.where(bunch.target[chosen] == wanted[0], -1.0, 1.0))


def diabetes(points: int | None = None, unit_norm: bool = True) -> Data:
    """A regression on real data: progression of diabetes in 442 patients, 10 inputs.

    The first `points` patients (None: all 442) of the set bundled with scikit-learn (the `data` extra), whose ten
    columns are centred over all patients; inputs have unit norm unless told otherwise. Targets are standardised to
    mean 0 and variance 1 over all patients, so that the later rows of ``diabetes()`` are the patients to predict, on
    the same scale. Raises ``ValueError`` for more than 442 points, ``ImportError`` without scikit-learn. Source:
    references `diabetes`.

        >>> import jaxlimit as jl
        >>> data, everyone = jl.data.diabetes(points=40), jl.data.diabetes()
        >>> data.points, data.inputs, bool((data.y == everyone.y[:40]).all()), round(float(everyone.y.var()), 12)
        (40, 10, True, 1.0)
    """
    wanted, unit_norm = optional_positive_integer("points", points), instance("unit_norm", unit_norm, bool)
    bunch = _bundled().load_diabetes()
    available = len(bunch.target)
    points = available if wanted is None else wanted
    require(points <= available, "points", f"be at most {available}", f"it is {points}")
    x, y = bunch.data[:points].astype(np.float64), bunch.target.astype(np.float64)
    return Data(on_sphere(x) if unit_norm else x, ((y - y.mean()) / y.std())[:points])


def _bundled() -> Any:
    """The sets that scikit-learn brings along: nothing is downloaded."""
    try:
        import sklearn.datasets
    except ImportError as error:
        raise ImportError("These data are bundled with scikit-learn: pip install 'jaxlimit[data]'") from error
    return sklearn.datasets

"""Area of applicability against its definition, spelled out slowly."""

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from geocrop.applicability import Applicability
from geocrop.schema import ModelError


def table(seed: int, n: int, features: int, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    "Correlated rows, weights of which some are 0, folds."
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)) @ rng.normal(size=(features, features)) + rng.normal(0, 5, features)
    X[rng.random(X.shape) < missing] = np.nan
    weights = rng.exponential(size=features) * (rng.random(features) < 0.8)
    weights[0] += 0.1
    return X, weights, rng.integers(0, 4, n)


def oracle(X: np.ndarray, weights: np.ndarray, folds: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, float]:
    "Dissimilarity of the asked rows, and the threshold: Meyer and Pebesma 2021, eqs. 1-3; all rows kept."

    def lacking(rows: np.ndarray) -> np.ndarray:
        return np.isnan(rows) @ weights > weights.sum() / 2

    X, folds = X[~lacking(X)], folds[~lacking(X)]

    def place(rows: np.ndarray) -> np.ndarray:
        return np.nan_to_num((rows - np.nanmean(X, axis=0)) / np.nanstd(X, axis=0, ddof=1)) * weights

    away = cdist(place(X), place(X))
    mean = away[~np.eye(len(X), dtype=bool)].mean()
    away[folds[:, None] == folds] = np.inf
    index = away.min(axis=1) / mean
    q1, q3 = np.quantile(index, [0.25, 0.75])
    found = cdist(place(asked), place(X)).min(axis=1) / mean
    found[lacking(asked)] = np.nan
    return found, index[index <= q3 + 1.5 * (q3 - q1)].max()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(30, 90),
    features=st.integers(1, 20),
    missing=st.sampled_from([0.0, 0.1, 0.4]),
)
def test_dissimilarity_is_that_of_the_paper(seed: int, n: int, features: int, missing: float):
    X, weights, folds = table(seed, n, features, missing)
    asked = np.concatenate([table(seed + 1, 40, features, missing)[0], X[:5], 50 * X[5:10]])
    near = Applicability.fit(X, weights, folds)
    expected, threshold = oracle(X, weights, folds, asked)
    found = near.dissimilarity(asked.astype("float32"))
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
    assert np.isclose(near.threshold, threshold, rtol=1e-4, atol=1e-6)
    assert (near.inside(asked) == (near.dissimilarity(asked) <= near.threshold)).all()


def test_order_and_number_of_pixels_do_not_matter():
    X, weights, folds = table(1, 300, 12)
    asked = table(2, 8_209, 12)[0]
    near = Applicability.fit(X, weights, folds)
    turn = np.random.default_rng(0).permutation(len(asked))
    assert (near.inside(asked)[turn] == near.inside(asked[turn])).all()
    assert (near.dissimilarity(asked)[:9] == near.dissimilarity(asked[:9])).all()
    assert near.inside(asked[:0]).shape == (0,)


def test_units_do_not_matter_and_constants_are_left_out():
    X, weights, folds = table(3, 200, 6)
    asked = table(4, 100, 6)[0]
    scale, shift = np.array([1, 10, 0.1, 1000, 5, 2]), np.array([0, 3, -1, 50, 0, 1])
    plain, other = Applicability.fit(X, weights, folds), Applicability.fit(X * scale + shift, 7 * weights, folds)
    assert np.allclose(plain.dissimilarity(asked), other.dissimilarity(asked * scale + shift), rtol=1e-4)
    wider = Applicability.fit(np.column_stack([X, np.full(200, 3.0)]), [*weights, 9.0], folds)
    strange = np.column_stack([asked, np.arange(100)])
    assert np.allclose(wider.dissimilarity(strange), plain.dissimilarity(asked), rtol=1e-6)


def test_kept_rows_are_bounded_and_rare_classes_stay():
    X, weights, folds = table(5, 1000, 5)
    y = np.repeat([1, 2, 3], [900, 90, 10])
    near = Applicability.fit(X, weights, folds, y, most=150)
    assert len(near.rows) == 150 and near.to_bytes() == Applicability.fit(X, weights, folds, y, most=150).to_bytes()
    assert near.to_bytes() != Applicability.fit(X, weights, folds, y, most=150, seed=1).to_bytes()
    placed = ((X - X.mean(axis=0)) / X.std(axis=0, ddof=1) * weights).astype("float32")
    kept = [np.abs(near.rows[:, None] - placed[None, y == c]).max(axis=2).min(axis=1) < 1e-5 for c in (1, 2, 3)]
    assert [int(k.sum()) for k in kept] == [70, 70, 10]
    assert len(Applicability.fit(X, weights, folds, y, most=10**6).rows) == 1000


def test_the_file_has_no_clock_and_no_pickle():
    X, weights, folds = table(6, 100, 9)
    near = Applicability.fit(X, weights, folds)
    blob = near.to_bytes()
    with zipfile.ZipFile(io.BytesIO(blob)) as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}
    again = Applicability.from_bytes(blob)
    assert again.threshold == near.threshold and (again.dissimilarity(X) == near.dissimilarity(X)).all()
    pickled = io.BytesIO()
    np.savez(pickled, center=np.array([{}], dtype=object))
    for broken in (b"", blob[:100], pickled.getvalue()):
        with pytest.raises(ModelError, match="cannot be read"):
            Applicability.from_bytes(broken)


def test_what_cannot_be_fitted():
    X, weights, folds = table(7, 50, 4)
    for args, told in [
        ((X, weights[:3], folds), "Give one importance"),
        ((X, -weights, folds), "0 or more"),
        ((X, 0 * weights, folds), "not all 0"),
        ((X, weights, folds[:9]), "one fold and class"),
        ((X, weights, np.zeros(50)), "in 1 folds"),
        ((np.full_like(X, np.nan), weights, folds), "0 rows"),
        ((np.ones_like(X), weights, folds), "all the same"),
    ]:
        with pytest.raises(ModelError, match=told):
            Applicability.fit(*args)
    with pytest.raises(ModelError, match="One row per pixel"):
        Applicability.fit(X, weights, folds).inside(X[:, :3])

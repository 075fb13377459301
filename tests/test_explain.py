"""Contributions add up, whatever the classes, the gaps and the way the model came to be."""

from pathlib import Path

import numpy as np
import pytest

from geocrop.accuracy import cross_validate
from geocrop.ensemble import Ensemble, RandomForest
from geocrop.explain import contributions, earliness, explain_pixel, importance, member_contributions, third
from geocrop.schema import FEATURE_ORDER_V1, Legend, ModelError

LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in (5, 2, 9, 3)])
NAMES = tuple("abcde")


def table(classes: tuple, n: int = 240) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(len(classes))
    y = np.resize(classes, n)
    X = (rng.normal(size=(n, 5)) + np.eye(10)[y][:, :5] * 2 + (y[:, None] == classes[0])).astype("float32")
    X[rng.random(X.shape) < 0.15] = np.nan
    X[:, 4] = np.where(rng.random(n) < 0.9, X[:, 4], np.nan)
    return X[~np.isnan(X).all(axis=1)], y[~np.isnan(X).all(axis=1)]


@pytest.mark.parametrize("classes", [(5, 2), (5, 2, 3), (5, 2, 9, 3)])
def test_contributions_add_up(classes: tuple, tmp_path: Path):
    X, y = table(classes)
    model = Ensemble(LEGEND, features=NAMES, rounds=8, depth=3, leaves=7, threads=1).fit(X, y)
    model.save(tmp_path / "bundle")
    asked = np.concatenate([X[:50], X[50:80] * 3])
    seen = [LEGEND.ids.index(c) for c in model.seen]
    logs = [np.log(p[:, seen].astype("float64")) for p in model.member_proba(asked).values()]
    for parts, log in zip(member_contributions(model, asked).values(), logs, strict=True):
        margin = parts.sum(axis=2)
        assert parts.shape == (80, len(classes), 6)
        assert np.allclose(
            margin - margin.mean(axis=1, keepdims=True), log - log.mean(axis=1, keepdims=True), atol=1e-3
        )
    whole = np.average(logs, axis=0, weights=list(model.vote.values()))
    found = contributions(model, asked)
    assert np.allclose(found.sum(axis=2), whole - whole.mean(axis=1, keepdims=True), atol=1e-3)
    assert np.allclose(found.sum(axis=1), 0, atol=1e-6)  # what speaks for one class speaks against the others
    loaded = Ensemble.load(tmp_path / "bundle", features=None)
    assert np.allclose(contributions(loaded, asked), found, atol=1e-5)
    assert np.allclose(contributions(model, asked[:1]), found[:1], atol=1e-5)


def test_a_feature_that_decides_nothing_has_no_importance():
    X, y = table((5, 2, 9))
    X[:, 3] = 1.0
    model = Ensemble(LEGEND, features=NAMES, rounds=8, depth=3, leaves=7, threads=1).fit(X, y)
    found = importance(model, X, y, per_class=20)
    assert found.values.shape == (3, 5) and found.overall[3] == 0 and (found.overall[:3] > 0).all()
    assert found.classes == ("crop_5", "crop_2", "crop_9")  # legend order; the class without rows is not there
    assert (importance(model, X, y, per_class=20).values == found.values).all()
    assert found.rows()[-1]["feature"] == "d" and np.isclose(sum(found.share(lambda name: name).values()), 1)
    few = importance(model, X[:60], y[:60], per_class=10**6)
    assert np.allclose(few.values, np.abs(contributions(model, X[:60])[:, :, :-1]).mean(axis=0))


def test_an_account_balances():
    X, y = table((5, 2, 9))
    model = Ensemble(LEGEND, features=NAMES, rounds=8, depth=3, leaves=7, threads=1).fit(X, y)
    for row in X[:20]:
        account = explain_pixel(model, row, top=2)
        assert account.class_id == model.predict(row[None])[0] and len(account.features) == 2
        assert np.isclose(account.base + sum(part for *_, part in account.features) + account.rest, account.margin)
        assert np.isclose(account.probability, model.predict_proba(row[None]).max())


def test_what_cannot_be_explained():
    with pytest.raises(ModelError, match="0 fitted boosters"):
        contributions(Ensemble(LEGEND, features=NAMES), np.zeros((1, 5)))
    X, y = table((5, 2))
    model = Ensemble(LEGEND, features=NAMES, rounds=2, depth=2, leaves=3, threads=1).fit(X, y)
    with pytest.raises(ModelError, match=r"expected a fitted ensemble, \(n, 5\)"):
        contributions(model, X[:, :4])


def test_thirds_of_the_features_of_version_1():
    counted = {name: sum(third(f) == name for f in FEATURE_ORDER_V1) for name in ("early", "peak", "late", "season")}
    assert counted == {"early": 10, "peak": 10, "late": 10, "season": 21}


def test_accuracy_by_day_is_that_of_cross_validation():
    X, y = table((5, 2, 9))
    field = np.arange(len(y)) // 3
    fold = field % 4
    gone = np.arange(len(y)) % 5 == 0

    def forest() -> RandomForest:
        return RandomForest(LEGEND, features=NAMES, trees=20, threads=1)

    def until(day: int) -> np.ndarray:
        return np.where(gone[:, None] & (day < 50), np.nan, X)

    early, late = earliness(until, (10, 90), y, fold, field, forest, LEGEND, draws=50)
    right = cross_validate(X, y, fold, forest, field).classes == y
    assert np.isclose(late.overall, right.mean()) and late.answered == 1 and late.low < late.macro_f1 < late.high
    assert np.isclose(early.answered, 1 - gone.mean()) and early.day == 10
    right = cross_validate(X[~gone], y[~gone], fold[~gone], forest, field[~gone]).classes == y[~gone]
    assert np.isclose(early.overall, right.mean())

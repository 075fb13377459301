"""The fast engine against the libraries: every rule of theirs, every shape of ours."""

import os
import subprocess
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from geocrop import boosters
from geocrop import forest as forest_module
from geocrop.boosters import CHECK_ROWS, READERS, Trees, hard_rows, native_file, read_lightgbm, tree_scores
from geocrop.bundle import read_bundle, write_bundle
from geocrop.calibration import Calibration, softmax
from geocrop.ensemble import ANSWERS, Ensemble, most_likely, predict_member
from geocrop.forest import BLOCK, Forest
from geocrop.schema import Legend, ModelError

ROOT = Path(__file__).parents[1]
LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in (3, 1, 9, 7)])  # not ascending


def table(
    rows: int = 400, features: int = 5, classes: tuple[int, ...] = (3, 1, 7), missing: float = 0.1, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    "Column 0 is never missing, column 1 is missing or a constant, column 2 has few values."
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, rows)
    X = (rng.normal(size=(rows, features)) + rng.normal(size=(10, features))[y]).astype("float32")
    X[:, 1:][rng.random((rows, features - 1)) < missing] = np.nan
    if features > 2:
        X[:, 1] = np.where(rng.random(rows) < 0.3 + 0.4 * (y == 1), np.nan, np.float32(0.5))
        X[:, 2] = np.round(X[:, 2])
    return X, y


@lru_cache
def fitted(
    rows: int = 400, features: int = 5, classes: tuple[int, ...] = (3, 1, 7), missing: float = 0.1, **hyper: Any
) -> Ensemble:
    X, y = table(rows, features, classes, missing)
    names = tuple(f"f{k}" for k in range(features))
    return Ensemble(LEGEND, features=names, threads=1, **({"rounds": 8, "inner_folds": 0} | hyper)).fit(X, y)


@pytest.fixture(scope="module")
def model() -> Ensemble:
    return fitted()


@pytest.fixture(scope="module")
def fast(model: Ensemble) -> Forest:
    return Forest.of(model)


def trees_of(library: str, booster: Any) -> Trees:
    return READERS[library](native_file(library, booster))


def native(model: Ensemble, X: np.ndarray) -> np.ndarray:
    "The soft vote of the seen classes, written anew: straight from the libraries, whole, and infinite values too."
    boosters = model.members
    return np.mean(
        [
            boosters["xgboost"].inplace_predict(X, validate_features=False),
            boosters["lightgbm"].predict(X),
            boosters["catboost"].predict(X, prediction_type="Probability"),
        ],
        axis=0,
    )


def raw(forest: Forest, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    "Probabilities of the seen classes and labels, past the public door, which refuses infinite values."
    proba, label = np.zeros((len(X), len(forest.legend.ids)), "float32"), np.empty(len(X), "uint8")
    forest._run(forest_module._probabilities, X, proba)
    forest._run(forest_module._labels, X, label)
    return proba[:, [forest.legend.ids.index(c) for c in forest.seen]], label


def assert_same(forest: Forest, X: np.ndarray, expected: np.ndarray) -> None:
    proba, label = raw(forest, X)
    empty = np.isnan(X).all(axis=1)
    assert (np.isnan(proba).all(axis=1) == empty).all() and (label[empty] == 255).all()
    assert np.abs(proba - expected)[~empty].max(initial=0) < 1e-5
    second, first = np.sort(expected, axis=1)[:, -2:].T
    clear = ~empty & (first - second > 1e-5)
    assert (label == np.array(forest.seen)[expected.argmax(axis=1)])[clear].all()
    assert (label == most_likely(proba, forest.seen)).all()  # also where it stopped early


# --- the libraries' rules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hyper",
    [
        {},
        {"features": 1},
        {"features": 2, "bins": 255, "rounds": 40, "missing": 0.0},
        {"missing": 0.6},
        {"classes": (9, 7)},
        {"rows": 8000, "depth": 8, "leaves": 200, "rounds": 2},
        {"depth": 1, "leaves": 2},
    ],
    ids=str,
)
def test_hard_rows(hyper: dict):
    model = fitted(**hyper)
    forest = Forest.of(model)
    assert forest.engine == "forest" and forest.reason == ""
    X = hard_rows(forest.trees, len(model.features), rows=3000, seed=7)
    assert np.isinf(X).any() and np.isnan(X).all(axis=1).any()
    assert_same(forest, X, native(model, X))


def test_what_the_models_of_these_tests_hold():
    "The cases above are there: planes beyond the first, wide tables, infinite thresholds, both rules for NaN."
    many = Forest(fitted(features=2, bins=255, rounds=40, missing=0.0))
    assert many._grid.plane_from.max() == 255
    deep = Forest(fitted(rows=8000, depth=8, leaves=200, rounds=2))
    assert all((program.tree_width == 256).any() for program in deep._programs)
    usual = Forest(fitted())
    assert any(np.isinf(trees.threshold).any() for trees in usual.trees)  # column 1: only the missing go right
    assert {0, 255} == set(usual._grid.plane_nan)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_row(data: st.DataObject):
    model = fitted()
    forest = Forest(model)
    known = np.unique(np.concatenate([trees.threshold for trees in forest.trees]))
    value = st.one_of(
        st.sampled_from(known.tolist()),
        st.sampled_from(np.nextafter(known, np.float32(np.inf)).tolist()),
        st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
    X = np.array(data.draw(st.lists(st.lists(value, min_size=5, max_size=5), min_size=1, max_size=20)), "float32")
    assert_same(forest, X, native(model, X))


@pytest.mark.parametrize("name", sorted(READERS))
def test_each_library(model: Ensemble, name: str):
    "Each for itself: errors of one must not drown in the mean of three."
    booster = model.members[name]
    trees = trees_of(name, booster)
    X = hard_rows([trees], 5, rows=3000)
    found = softmax(tree_scores(trees, X))
    expected = {
        "xgboost": lambda: booster.inplace_predict(X, validate_features=False),
        "lightgbm": lambda: booster.predict(X),
        "catboost": lambda: booster.predict(X, prediction_type="Probability"),
    }[name]()
    assert np.abs(found - expected).max() < 2e-6


@pytest.mark.parametrize("mode", ["Min", "Max", "Forbidden"])
def test_nan_modes_of_catboost(mode: str):
    X, y = table(missing=0 if mode == "Forbidden" else 0.2)
    X[:, 1] = 0.5 if mode == "Forbidden" else X[:, 1]
    model = catboost.CatBoost(
        {
            "loss_function": "MultiClass",
            "iterations": 5,
            "nan_mode": mode,
            "verbose": False,
            "allow_writing_files": False,
        }
    ).fit(X, y)
    trees = trees_of("catboost", model)
    assert trees.missing.any() == (mode == "Max")
    X = X if mode == "Forbidden" else hard_rows([trees], 5, rows=1000)
    assert np.abs(softmax(tree_scores(trees, X)) - model.predict(X, prediction_type="Probability")).max() < 1e-6


def test_thresholds_around_zero_in_lightgbm():
    "Values that it takes for 0, on both sides of borders that are nearly 0."
    rng = np.random.default_rng(0)
    X = rng.choice(np.float32([-1, -1e-30, 0, 1e-30, 1]), (500, 2))
    y = (X[:, 0] > 0) + 2 * (X[:, 1] < 0)
    params = {"objective": "multiclass", "num_class": 4, "verbosity": -1, "num_threads": 1, "min_data_in_bin": 1}
    booster = lightgbm.train(params, lightgbm.Dataset(X, y, params=params), 5)
    trees = trees_of("lightgbm", booster)
    assert (np.abs(trees.threshold) < 1e-20).any()
    odd = np.float32([0, -0.0, 1e-45, 1e-36, 1e-35, np.nextafter(np.float32(1e-35), np.float32(1)), 1e-34, 1])
    odd = np.concatenate([odd, -odd, [np.nan]]).astype("float32")
    grid = np.stack(np.meshgrid(odd, odd), axis=-1).reshape(-1, 2)
    assert np.abs(softmax(tree_scores(trees, grid)) - booster.predict(grid)).max() < 1e-9


def test_best_iteration_of_lightgbm():
    X, y = table()
    params = {"objective": "multiclass", "num_class": 10, "verbosity": -1, "num_threads": 1, "learning_rate": 0.5}
    early = lightgbm.early_stopping(2, verbose=False)
    data = lightgbm.Dataset(X[:200], y[:200])
    booster = lightgbm.train(
        params,
        data,
        200,
        valid_sets=[lightgbm.Dataset(X[200:], y[200:], reference=data)],
        callbacks=[early],
        keep_training_booster=True,
    )
    assert 0 < booster.best_iteration < booster.current_iteration()
    assert np.abs(softmax(tree_scores(trees_of("lightgbm", booster), X)) - booster.predict(X)).max() < 1e-9
    assert np.abs(predict_member("lightgbm", booster, X, 1) - booster.predict(X)).max() < 1e-9


def test_tables_too_small_for_a_tree():
    "LightGBM grows trees of one leaf here."
    X, y = table(rows=12)
    model = Ensemble(LEGEND, features=tuple("abcde"), rounds=5, inner_folds=0, threads=1).fit(X, y)
    assert (trees_of("lightgbm", model.members["lightgbm"]).root < 0).any()
    forest = Forest.of(model)
    assert forest.engine == "forest"
    assert_same(forest, hard_rows(forest.trees, 5, rows=500), native(model, hard_rows(forest.trees, 5, rows=500)))


# --- votes and calibration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vote", [(0.2, 0.5, 0.3), (0.0, 0.4, 0.6), (0.0, 0.0, 1.0)])
@pytest.mark.parametrize("calibrated", [False, True])
def test_weights_and_calibration(vote: tuple[float, ...], calibrated: bool):
    model = Ensemble(LEGEND, features=tuple("abcde"), rounds=8, inner_folds=0, threads=1).fit(*table())
    scale, shift = (np.array([0.7, 1.9, 1.2]), np.array([0.4, -0.3, 0.0])) if calibrated else (np.ones(3), np.zeros(3))
    model.vote = dict(zip(model.members, vote, strict=True))
    model.calibration = Calibration(tuple(scale), tuple(shift)) if calibrated else None
    X = hard_rows(Forest(model).trees, 5, rows=4000, seed=3)
    members = {name: predict_member(name, booster, X, 1) for name, booster in model.members.items()}
    share = np.sum([model.vote[name] * proba for name, proba in members.items()], axis=0)
    power = np.exp(scale * np.log(np.maximum(share, 1e-6)) + shift)
    assert_same(Forest(model), X, power / power.sum(axis=1, keepdims=True) if calibrated else share)


# --- shapes, kinds of input, threads ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 100])
def test_sizes_and_threads(fast: Forest, model: Ensemble, rows: int):
    X, _ = table(rows=rows, seed=rows, missing=0.4)
    proba = fast.predict_proba(X)
    assert proba.dtype == np.float32 and proba.shape == (rows, 4) and (proba[:, 2] == 0).all()
    assert np.allclose(proba, model.predict_proba(X), atol=1e-5, equal_nan=True)
    label = fast.predict(X)
    assert label.dtype == np.uint8 and (label == most_likely(proba, LEGEND.ids)).all()
    many = Forest(model, threads=3)
    assert (many.predict_proba(X) == proba).all() and (many.predict(X) == label).all()


def test_kinds_of_input(fast: Forest, model: Ensemble):
    X, _ = table(seed=5)
    X[3] = np.nan
    expected, label = fast.predict_proba(X), fast.predict(X)
    assert np.isnan(expected[3]).all() and label[3] == 255 and np.isfinite(np.delete(expected, 3, axis=0)).all()
    still = X.copy()
    still.flags.writeable = False
    others = [np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2], X.astype("float64"), still]
    for other in [*others, pd.DataFrame(X, columns=model.features)]:
        assert np.array_equal(fast.predict_proba(other), expected, equal_nan=True)
        assert (fast.predict(other) == label).all()
    for wrong, text in [(X[:, :4], r"\(n, 5\)"), (pd.DataFrame(X, columns=list("abcde")), "'a' at 0")]:
        with pytest.raises(ModelError, match=text):
            fast.predict_proba(wrong)
    for value in (np.inf, -np.inf):
        X[17, 2] = value
        for ask in (fast.predict, fast.predict_proba, model.predict):
            with pytest.raises(ModelError, match="Feature f2: found infinite"):
                ask(X)


def test_rows_are_independent(fast: Forest):
    X = hard_rows(fast.trees, 5, rows=3000, seed=2)
    order = np.random.default_rng(0).permutation(len(X))
    proba, label = raw(fast, X)
    mixed_proba, mixed_label = raw(fast, X[order])
    assert np.array_equal(mixed_proba, proba[order], equal_nan=True) and (mixed_label == label[order]).all()


def test_loads_a_bundle(model: Ensemble, fast: Forest, tmp_path: Path):
    model.save(tmp_path / "bundle")
    X, _ = table(seed=8)
    loaded = Forest.load(tmp_path / "bundle", features=None)
    assert loaded.engine == "forest" and (loaded.predict_proba(X) == fast.predict_proba(X)).all()
    with pytest.raises(ModelError):
        Forest.load(tmp_path / "bundle")  # features of another order


LAZY = """if True:
    import sys, warnings
    import numpy as np
    warnings.simplefilter("error")
    from geocrop.forest import Forest
    forest = Forest.load(sys.argv[1], features=None)
    forest.predict_proba(np.zeros((9, 5), "float32")), forest.predict(np.zeros((9, 5), "float32"))
    assert forest.engine == "forest", forest.reason
    print(*sorted({"xgboost", "lightgbm", "catboost"} & {*sys.modules}))
"""


def libraries_of_a_load(bundle: Path) -> list[str]:
    "What a new process imports that loads a bundle and predicts."
    ran = subprocess.run([sys.executable, "-c", LAZY, bundle], check=True, capture_output=True, text=True, cwd=ROOT)
    return ran.stdout.split()


def test_a_bundle_brings_the_answers_of_the_libraries(model: Ensemble, tmp_path: Path):
    "With them no library is imported; where they are others, or missing, the libraries are asked and agree."
    model.save(tmp_path / "whole")
    assert libraries_of_a_load(tmp_path / "whole") == []
    loaded = Ensemble.load(tmp_path / "whole", features=None)
    X = hard_rows(loaded.trees, 5)
    assert loaded.recorded is not None and loaded.recorded.shape == (CHECK_ROWS, 3)
    expected = native(model, X)
    expected[np.isnan(X).all(axis=1)] = np.nan
    assert np.allclose(loaded.recorded, expected, atol=1e-6, equal_nan=True)
    bundle = read_bundle(tmp_path / "whole")
    other = bytearray(bundle.files[ANSWERS])
    other[-4:] = np.float32(0.4).tobytes()
    older = {name: file for name, file in bundle.files.items() if name != ANSWERS}
    for name, files in (("other", older | {ANSWERS: bytes(other)}), ("older", older)):
        write_bundle(tmp_path / name, bundle.page, files)
        assert libraries_of_a_load(tmp_path / name) == ["catboost", "lightgbm", "xgboost"]


def test_processors_without_wide_registers(fast: Forest, model: Ensemble, tmp_path: Path):
    "The same code for a processor of 2013, in a process of its own: the same bits."
    X = hard_rows(fast.trees, 5, rows=2 * BLOCK, seed=4)
    X[np.isinf(X)] = 0
    model.save(tmp_path / "bundle")
    np.save(tmp_path / "X.npy", X)
    program = """if True:
        import sys, numpy as np
        from geocrop.forest import Forest
        forest = Forest.load(sys.argv[1] + "/bundle", features=None)
        X = np.load(sys.argv[1] + "/X.npy")
        assert forest.engine == "forest", forest.reason
        np.savez(sys.argv[1] + "/found.npz", proba=forest.predict_proba(X), label=forest.predict(X))
    """
    old = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx2,+bmi,+bmi2,+lzcnt,+popcnt"}
    environment = os.environ | old | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    subprocess.run([sys.executable, "-c", program, tmp_path], check=True, env=environment, cwd=ROOT)
    found = np.load(tmp_path / "found.npz")
    assert np.allclose(found["proba"], fast.predict_proba(X), atol=1e-6, equal_nan=True)
    assert (found["label"] == most_likely(found["proba"], LEGEND.ids)).all()


# --- what is refused, and what is found wrong ------------------------------------------------------------------------


def grow_xgboost(**params: Any) -> Any:
    X, y = table(rows=200)
    params = {"objective": "multi:softprob", "num_class": 10, "nthread": 1, "max_depth": 3} | params
    return xgboost.train(params, xgboost.DMatrix(X, y), 2)


def grow_lightgbm(categories: Any = "auto", **params: Any) -> Any:
    X, y = table(rows=2000)
    if categories != "auto":
        X[:, 3] = y
    params = {"objective": "multiclass", "num_class": 10, "num_threads": 1, "verbosity": -1} | params
    return lightgbm.train(params, lightgbm.Dataset(X, y, categorical_feature=categories, params=params), 2)


def grow_catboost(**params: Any) -> Any:
    X, y = table(rows=2000)
    usual = {"loss_function": "MultiClass", "iterations": 2, "verbose": False, "allow_writing_files": False}
    return catboost.CatBoost(usual | params).fit(X, y)


@pytest.mark.parametrize(
    ("library", "grow", "text"),
    [
        ("xgboost", lambda: grow_xgboost(booster="dart"), "dart"),
        ("xgboost", lambda: grow_xgboost(booster="gblinear"), "gblinear"),
        ("xgboost", lambda: grow_xgboost(objective="multi:softmax"), "softmax"),
        ("xgboost", lambda: grow_xgboost(multi_strategy="multi_output_tree"), "value for each class"),
        ("lightgbm", lambda: grow_lightgbm(linear_tree=True), "linear"),
        ("lightgbm", lambda: grow_lightgbm(categories=[3], min_data_per_group=1, cat_smooth=0), "categorical"),
        ("lightgbm", lambda: grow_lightgbm(zero_as_missing=True), "zeros"),
        ("lightgbm", lambda: grow_lightgbm(objective="multiclassova"), "multiclassova"),
        ("lightgbm", lambda: grow_lightgbm(boosting="rf", bagging_fraction=0.5, bagging_freq=1), "boosted"),
        ("lightgbm", lambda: grow_lightgbm(num_leaves=600, min_data_in_leaf=1), "256"),
        ("catboost", lambda: grow_catboost(grow_policy="Lossguide"), "symmetric"),
        ("catboost", lambda: grow_catboost(loss_function="MultiClassOneVsAll"), "MultiClass"),
        ("catboost", lambda: grow_catboost(depth=9), "256"),
    ],
)
def test_refused(library: str, grow: Any, text: str):
    with pytest.raises(ModelError, match=text):
        trees_of(library, grow())


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("wrong", ["threshold", "missing", "value"])
def test_a_wrong_tree_is_found(
    model: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, saved: bool
):
    "One node or one leaf of a thousand, changed behind the back of the engine; with and without recorded answers."
    if saved:
        model.save(tmp_path / "bundle")
        model = Ensemble.load(tmp_path / "bundle", features=None)
        assert model.recorded is not None

    def read(file: bytes) -> Trees:
        trees = read_lightgbm(file)
        if wrong == "threshold":
            trees.threshold[0] = np.nextafter(trees.threshold[0], np.float32(np.inf))
        elif wrong == "missing":
            trees.missing[0] ^= True
        else:
            trees.value[0] += 1e-3
        return trees

    monkeypatch.setitem(boosters.READERS, "lightgbm", read)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        forest = Forest.of(model)
    assert forest.engine == "native" and "probabilities by up to" in forest.reason
    assert len(told) == 1 and forest.reason in str(told[0].message)
    X, _ = table(seed=9)
    assert (forest.predict_proba(X) == model.predict_proba(X)).all() and (forest.predict(X) == model.predict(X)).all()


# --- a real model ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [".", "profiles/herault_2018"])
def test_the_models_of_the_profiles(profile: str):
    bundle, features = ROOT / profile / "results/model", ROOT / profile / "results/features.parquet"
    if not (bundle.exists() and features.exists()):
        pytest.skip(f"no {bundle} or {features}: run the pipeline, or dvc pull")
    model = Ensemble.load(bundle)
    forest = Forest.of(model)
    assert forest.engine == "forest"
    rows = pd.read_parquet(features)[list(model.features)].to_numpy("float32")
    expected = model.predict_proba(rows)
    assert np.allclose(forest.predict_proba(rows), expected, atol=1e-5, equal_nan=True)
    second, first = np.sort(expected, axis=1)[:, -2:].T
    clear = ~(first - second <= 1e-5)
    assert (forest.predict(rows) == most_likely(expected, model.legend.ids))[clear].all()

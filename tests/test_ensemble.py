"""The ensemble and its bundle: bytes, refusals, columns."""

import io
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from geocrop.bundle import FORMAT, bundle_sha256, features_sha256, read_bundle, write_bundle
from geocrop.ensemble import MEMBERS, Ensemble, RandomForest, most_likely
from geocrop.schema import FEATURE_ORDER_V1, Legend, ModelError

LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in (3, 1, 9, 7)])  # not ascending


def season(rows: int = 240, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.choice([3, 1, 7], rows, p=[0.6, 0.3, 0.1])
    X = (rng.normal(size=(rows, 51)) + 1.5 * (y[:, None] == np.resize([3, 1, 7], 51))).astype("float32")
    X[rng.random(X.shape) < 0.05] = np.nan
    return X, y


def plain(**hyper: int) -> Ensemble:
    "All rounds, equal votes, not calibrated."
    return Ensemble(LEGEND, **{"rounds": 12, "inner_folds": 0, **hyper})


@pytest.fixture(scope="module")
def model() -> Ensemble:
    return plain().fit(*season())


@pytest.fixture(scope="module")
def bundle(model: Ensemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "1"
    model.save(folder)
    return folder


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# --- answers ------------------------------------------------------------------------------------------------------


def test_columns_follow_the_legend(model: Ensemble):
    X, y = season(seed=1)
    proba = model.predict_proba(X)
    assert proba.dtype == np.float32 and proba.shape == (240, 4)
    assert (proba[:, 2] == 0).all()  # class 9 was never seen
    assert np.allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert model.predict(X).dtype == np.uint8 and set(model.predict(X)) <= {3, 1, 7}
    assert (model.predict(X) == y).mean() > 0.8  # with columns in another order this is about a third
    members = np.stack(list(model.member_proba(X).values()))
    assert np.allclose(members.mean(axis=0), proba, atol=1e-6)
    for member in members:
        assert (most_likely(member, LEGEND.ids) == y).mean() > 0.75


def test_rows_are_independent(model: Ensemble):
    X, _ = season(seed=2)
    order = np.random.default_rng(0).permutation(len(X))
    assert (model.predict_proba(X[order]) == model.predict_proba(X)[order]).all()
    assert (model.predict_proba(X[:1]) == model.predict_proba(X)[:1]).all()
    assert model.predict_proba(X[:0]).shape == (0, 4) and model.predict(X[:0]).shape == (0,)


@pytest.mark.parametrize("make", [lambda: plain(rounds=4), lambda: RandomForest(LEGEND, trees=10)])
def test_rows_without_features(make: Callable):
    X, y = season()
    X[[3, 17]] = np.nan
    fitted, without = make().fit(X, y), make().fit(np.delete(X, [3, 17], axis=0), np.delete(y, [3, 17]))
    assert (fitted.predict_proba(X)[4:16] == without.predict_proba(X)[4:16]).all()  # they taught nothing
    assert np.isnan(fitted.predict_proba(X)[[3, 17]]).all() and fitted.predict(X)[[3, 17]].tolist() == [255, 255]


def test_weights():
    X, y = season()
    twice = plain(rounds=4).fit(X, y, sample_weight=np.full(len(y), 2.0)).predict_proba(X)
    tilted = plain(rounds=4).fit(X, y, sample_weight=np.where(y == 7, 50.0, 1.0)).predict_proba(X)
    even = plain(rounds=4).fit(X, y).predict_proba(X)
    assert tilted[:, 3].mean() > even[:, 3].mean() + 0.05
    assert np.abs(twice[:, 3].mean() - even[:, 3].mean()) < 0.05


def test_tables_are_checked_by_name(model: Ensemble):
    X, _ = season()
    table = pd.DataFrame(X, columns=list(FEATURE_ORDER_V1))
    assert (model.predict_proba(table) == model.predict_proba(X)).all()
    with pytest.raises(ModelError, match="at 0 instead of 'ndvi_amplitude'"):
        model.predict_proba(table[sorted(table.columns)])


def spoilt(change: Callable) -> tuple[np.ndarray, np.ndarray]:
    X, y = season()
    return change(X.copy(), y.copy())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda X, y: (X[:, :50], y), r"shape \(240, 50\)"),
        (lambda X, y: (X, y[:-1]), r"Training y: found shape \(239,\)"),
        (lambda X, y: (X, np.where(y == 1, 4, y)), r"found \[4\]; expected ids of the legend"),
        (lambda X, y: (X[y == 3], y[y == 3]), r"classes \[3\]"),
        (lambda X, y: (X, y.astype(float)), "type float64"),
        (lambda X, y: (np.where(X > 3, np.inf, X), y), "infinite values"),
        (lambda X, y: (np.full_like(X, np.nan), y), "0 rows with features"),
    ],
)
@pytest.mark.parametrize("make", [Ensemble, RandomForest])
def test_tables_that_do_not_fit(make: Callable, change: Callable, told: str):
    with pytest.raises(ModelError, match=told):
        make(LEGEND).fit(*spoilt(change))


def test_nothing_fitted(tmp_path: Path):
    for call in (lambda m: m.predict(season()[0]), lambda m: m.save(tmp_path / "m")):
        with pytest.raises(ModelError, match="nothing fitted"):
            call(Ensemble(LEGEND))
    assert not (tmp_path / "m").exists()


# --- what held-out rows decide -------------------------------------------------------------------------------------


def farms(fields: int = 60, pixels: int = 5, seed: int = 0, gap: float = 0.4) -> tuple[np.ndarray, ...]:
    "Fields whose pixels are nearly alike: X, y, field, block of six fields."
    rng = np.random.default_rng(seed)
    klass = np.resize([3, 1, 7], fields)
    centre = rng.normal(size=(fields, 51)) + gap * (klass[:, None] == np.resize([3, 1, 7], 51))
    X = (np.repeat(centre, pixels, axis=0) + 0.05 * rng.normal(size=(fields * pixels, 51))).astype("float32")
    field = np.repeat(np.arange(fields), pixels)
    return X, np.repeat(klass, pixels), field, field // 6


@pytest.fixture(scope="module")
def learnt() -> Ensemble:
    X, y, field, block = farms()
    return Ensemble(LEGEND, rounds=60).fit(X, y, field, blocks=block)


def test_held_out_rows_stop_the_boosters_and_weigh_their_votes(learnt: Ensemble):
    assert set(learnt.rounds) == set(MEMBERS) and set(learnt.rounds.values()) <= set(range(6, 61, 6))
    assert learnt.members["xgboost"].num_boosted_rounds() == learnt.rounds["xgboost"]
    assert learnt.members["lightgbm"].current_iteration() == learnt.rounds["lightgbm"]
    assert learnt.members["catboost"].tree_count_ == learnt.rounds["catboost"]
    assert np.isclose(sum(learnt.vote.values()), 1) and min(learnt.vote.values()) >= 0
    X, y, field, block = farms(gap=0.0)  # nothing to learn: every tree after the first few is one too many
    hopeless = Ensemble(LEGEND, rounds=60).fit(X, y, field, blocks=block)
    assert all(hopeless.rounds[name] < 60 for name in MEMBERS) and hopeless.cost["trees"] < learnt.cost["trees"]
    X = farms(seed=9)[0]
    vote = sum(learnt.vote[name] * p for name, p in learnt.member_proba(X).items())
    assert np.allclose(learnt.vote_proba(X), vote, atol=1e-6)


def test_calibration_is_of_places_that_were_held_out(learnt: Ensemble):
    X, y, *_ = farms()
    new, truth = farms(seed=5)[:2]
    place = np.searchsorted([1, 3, 7], truth)
    columns = [LEGEND.ids.index(c) for c in (1, 3, 7)]
    by_pixel = Ensemble(LEGEND, rounds=60).fit(X, y)  # each row a unit: neighbours on both sides

    def loss(m: Ensemble) -> float:
        p = m.predict_proba(new)[:, columns]
        return -np.log(np.maximum(p[np.arange(len(p)), place], 1e-9)).mean()

    assert max(learnt.calibration.scale) < min(by_pixel.calibration.scale)  # that one thinks it is always right
    assert loss(learnt) < loss(by_pixel) / 1.2
    assert by_pixel.training["inner"]["log_loss"]["vote"] < learnt.training["inner"]["log_loss"]["vote"] / 2


def test_conformal_sets_hold_new_fields(learnt: Ensemble):
    new, truth, *_ = farms(seed=11, fields=150)
    sets = learnt.class_sets(new)
    held = sets[np.arange(len(new)), [LEGEND.ids.index(c) for c in truth]]
    assert held.mean() > 0.8 and not sets[:, LEGEND.ids.index(9)].any()  # 9 was never seen
    with pytest.raises(ModelError, match="no thresholds"):
        plain().fit(*season()).class_sets(new)


def test_blocks_that_are_too_few():
    X, y, field, _ = farms()
    with pytest.raises(ModelError, match=r"found 2 blocks or fields; expected 3 or more.*inner_folds to 0"):
        Ensemble(LEGEND, rounds=4).fit(X, y, field, blocks=field % 2)


def test_a_class_of_one_block_is_not_asked_and_keeps_its_place():
    X, y, field, block = farms()
    y = np.where(block == 4, 9, y)  # the only block of class 9
    fitted = Ensemble(LEGEND, rounds=20).fit(X, y, field, blocks=block)
    number = fitted.seen.index(9)
    assert 0.2 < fitted.calibration.scale[number] < 5 and abs(fitted.calibration.shift[number]) < 3
    assert fitted.thresholds[number] == 0  # it can never be excluded
    assert (fitted.predict(X[y == 9]) == 9).mean() > 0.9


def test_tuning_is_the_same_twice_and_never_worse_than_what_was_given():
    X, y, field, block = farms(fields=36, pixels=2)

    def loss(**hyper: int) -> tuple[float, dict]:
        fitted = Ensemble(LEGEND, rounds=10, seed=3, **hyper).fit(X, y, field, blocks=block)
        return fitted.training["inner"]["log_loss"]["vote"], fitted.hyper

    (given, _), (tuned, chosen), again = loss(), loss(trials=4), loss(trials=4)
    assert (tuned, chosen) == again and chosen["trials"] == 4
    assert tuned <= given + 0.02  # chosen by the loss of equal votes, shown for weighted ones


# --- bytes --------------------------------------------------------------------------------------------------------


def test_two_fits_are_byte_identical(bundle: Path, model: Ensemble, tmp_path: Path):
    assert plain().fit(*season()).save(tmp_path / "again") == bundle_sha256(bundle)
    assert contents(tmp_path / "again") == contents(bundle)
    other = plain(seed=1).fit(*season()).save(tmp_path / "other")
    assert other != bundle_sha256(bundle)  # the identity sees a change of the seed
    loaded = Ensemble.load(bundle)
    assert loaded.save(tmp_path / "copied") == bundle_sha256(bundle)  # and survives reading and writing
    X, _ = season(seed=5)
    assert (loaded.predict_proba(X) == model.predict_proba(X)).all()


def test_models_are_fitted_side_by_side():
    "CatBoost's log has one owner in a process; each of many threads wants it many times."
    X, y = season()

    def answers(seed: int) -> bytes:
        return plain(rounds=1, threads=1, seed=seed).fit(X, y).predict_proba(X).tobytes()

    alone = [answers(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(answers, [*range(4)] * 10)) == alone * 10


def test_bundle_says_nothing_of_when_and_where(bundle: Path):
    page = (bundle / "bundle.json").read_text()
    assert str(Path.home()) not in page and "/work" not in page and "202" not in json.dumps(json.loads(page)["hyper"])
    assert b"1970-01-01T00:00:00Z" in (bundle / "catboost.cbm").read_bytes()
    reference = json.loads(page)["training"]["reference"]
    X, _ = season()
    assert list(reference) == list(FEATURE_ORDER_V1)
    for column, name in ((0, FEATURE_ORDER_V1[0]), (50, FEATURE_ORDER_V1[50])):
        assert np.isclose(reference[name]["quantiles"][10], np.nanmedian(X[:, column]), atol=1e-5)
        assert np.isclose(reference[name]["nan_share"], np.isnan(X[:, column]).mean(), atol=1e-5)


def test_a_table_of_others(tmp_path: Path):
    from sklearn.datasets import load_iris

    iris = load_iris()
    flowers = Legend.of([{"id": i, "name": str(n), "colour": "#000000"} for i, n in enumerate(iris.target_names)])
    fitted = Ensemble(flowers, features=iris.feature_names, rounds=40).fit(iris.data, iris.target)
    fitted.save(tmp_path / "iris")
    loaded = Ensemble.load(tmp_path / "iris", features=None)
    assert (loaded.predict(iris.data) == iris.target).mean() > 0.93
    assert (loaded.predict_proba(iris.data) == fitted.predict_proba(iris.data)).all()
    assert (loaded.class_sets(iris.data) == fitted.class_sets(iris.data)).all()
    with pytest.raises(ModelError, match="4 features"):
        Ensemble.load(tmp_path / "iris")


# --- refused bundles ----------------------------------------------------------------------------------------------


def edit(folder: Path, **change: object) -> None:
    page = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(page | change))


@pytest.mark.parametrize("file", ["xgboost.ubj", "lightgbm.txt", "catboost.cbm", "answers.npy", "bundle.json"])
def test_missing_file(copy: Path, file: str):
    (copy / file).unlink()
    for use in (Ensemble.load, bundle_sha256):
        with pytest.raises(ModelError, match=f"no {file}"):
            use(copy)


@pytest.mark.parametrize("file", ["xgboost.ubj", "lightgbm.txt", "catboost.cbm", "answers.npy"])
def test_changed_byte(copy: Path, file: str):
    blob = bytearray((copy / file).read_bytes())
    blob[-20] ^= 1
    (copy / file).write_bytes(blob)
    for use in (Ensemble.load, bundle_sha256):
        with pytest.raises(ModelError, match=f"{file}: found sha256"):
            use(copy)


@pytest.mark.parametrize("version", [FORMAT + 1, None, "1"])
def test_unknown_format(copy: Path, version: object):
    edit(copy, format=version)
    with pytest.raises(ModelError, match=f"format {version!r}"):
        Ensemble.load(copy)


def test_other_feature_order(copy: Path):
    swapped = [FEATURE_ORDER_V1[1], FEATURE_ORDER_V1[0], *FEATURE_ORDER_V1[2:]]
    edit(copy, features=swapped, features_sha256=features_sha256(swapped))
    with pytest.raises(ModelError, match="another order from number 0"):
        Ensemble.load(copy)


def test_feature_list_against_its_hash(copy: Path):
    edit(copy, features=list(FEATURE_ORDER_V1[:-1]))
    with pytest.raises(ModelError, match="does not match its own hash"):
        Ensemble.load(copy, features=None)


def test_not_json(copy: Path):
    (copy / "bundle.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        Ensemble.load(copy)


@pytest.mark.parametrize("change", [{"legend": []}, {"hyper": {"trees": 3}}, {"name": None, "classes": None}])
def test_garbled_page(copy: Path, change: dict):
    edit(copy, **change)
    with pytest.raises(ModelError, match="lacks or garbles"):
        Ensemble.load(copy)


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize("wrong", ["nothing", "text", "pickle", "double", "short", "huge", "cut"])
def test_answers_of_another_kind(copy: Path, wrong: str):
    "Files that fit their checksum and are no answers of this model: said so, without memory or pickle."
    bundle = read_bundle(copy)
    right = np.load(copy / "answers.npy", allow_pickle=False)
    file = io.BytesIO()
    if wrong == "pickle":
        np.save(file, np.array([Trap()], dtype=object))  # pickled
    elif wrong == "huge":
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f4", "fortran_order": False, "shape": (10**12, right.shape[1])}
        )
    else:
        np.save(file, right.astype("float64") if wrong == "double" else right[:-1] if wrong == "short" else right)
    told = {"nothing": b"", "text": b"hello", "cut": file.getvalue()[:-4]}.get(wrong, file.getvalue())
    write_bundle(copy, bundle.page, bundle.files | {"answers.npy": told})
    with pytest.raises(ModelError, match=r"answers\.npy"):
        Ensemble.load(copy)


# --- all or nothing -----------------------------------------------------------------------------------------------


def test_a_failed_save_leaves_the_old_bundle(bundle: Path, copy: Path, model: Ensemble):
    with pytest.raises(TypeError):
        model.save(copy, provenance={"not json": object()})
    assert contents(copy) == contents(bundle) and list(copy.parent.iterdir()) == [copy]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path, model: Ensemble):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "field.jpg").write_text("x")
    with pytest.raises(ModelError, match="not overwritten"):
        model.save(tmp_path / "photos")
    assert (tmp_path / "photos" / "field.jpg").exists()


def test_an_old_bundle_is_replaced(copy: Path, bundle: Path, model: Ensemble):
    name = model.save(copy, provenance={"table": "abc"})
    assert name == bundle_sha256(copy) != bundle_sha256(bundle)
    assert json.loads((copy / "bundle.json").read_text())["provenance"] == {"table": "abc"}


def test_further_files_belong_to_the_bundle(tmp_path: Path, model: Ensemble):
    name = model.save(tmp_path / "m", parts={"area.bin": b"where it may be used"})
    loaded = Ensemble.load(tmp_path / "m")
    assert loaded.parts["area.bin"] == b"where it may be used" and set(loaded.parts) == {"area.bin", "infer.py"}
    assert loaded.save(tmp_path / "copy") == name
    (tmp_path / "m" / "area.bin").write_bytes(b"everywhere")
    with pytest.raises(ModelError, match=r"area\.bin: found sha256"):
        Ensemble.load(tmp_path / "m")

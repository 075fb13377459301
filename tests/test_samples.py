"""Samples and folds: what teaches nobody, but must hold."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely.geometry import Point, box

from geocrop.samples import (
    block_origins,
    field_weights,
    folds,
    load_table,
    sample_pixels,
    save_table,
    shuffled_field_labels,
)
from geocrop.schema import FEATURE_ORDER_V1, SampleError, StoreError

X0, Y0 = 286_000, 8_027_000
GRID = GeoBox.from_bbox((X0, Y0, X0 + 400, Y0 + 300), crs="EPSG:32736", resolution=10)


def labels(shapes: list, classes: list[int] | None = None, fields: list[int] | None = None) -> gpd.GeoDataFrame:
    fields = fields or list(range(1, len(shapes) + 1))
    return gpd.GeoDataFrame({"field_id": fields, "class_id": classes or [1] * len(shapes)}, geometry=shapes, crs=32736)


# --- pixels -------------------------------------------------------------------------------------------------------


def test_all_outside_names_both_extents():
    with pytest.raises(SampleError, match=r"all 2 outside.*latitude.*expected longitude 30\.98"):
        sample_pixels(labels([Point(X0 + 9000, Y0), box(X0 - 900, Y0, X0 - 800, Y0 + 90)]), GRID)


def test_some_outside_are_dropped_and_counted():
    table = sample_pixels(
        labels([Point(X0 + 5, Y0 + 5), Point(X0 - 5, Y0 + 5), box(X0 + 900, Y0, X0 + 990, Y0 + 9)]), GRID
    )
    assert table["field_id"].tolist() == [1] and table.attrs["summary"]["outside"] == 2


def test_a_field_across_the_border_gives_its_inner_half():
    table = sample_pixels(labels([box(X0 - 200, Y0 + 100, X0 + 60, Y0 + 160)]), GRID, per_field=999)
    assert table["col"].min() == 0 and table["col"].max() == 4 and len(table) == 5 * 4


def test_degrees_are_refused():
    with pytest.raises(SampleError, match="projected CRS in metres"):
        sample_pixels(labels([Point(X0, Y0)]), GeoBox.from_bbox((30, -18, 31, -17), crs="EPSG:4326", resolution=0.01))


@settings(max_examples=40, deadline=None)
@given(
    corners=st.lists(
        st.tuples(st.floats(0, 330), st.floats(0, 230), st.floats(8, 70), st.floats(8, 70), st.integers(1, 3)),
        min_size=1, max_size=12,
    ),
    seed=st.integers(0, 5),
)  # fmt: skip
def test_pixels_lie_in_their_fields_once_and_in_any_order(corners: list, seed: int):
    shapes = [box(X0 + x, Y0 + y, X0 + x + w, Y0 + y + h) for x, y, w, h, _ in corners]
    made = labels(shapes, [c for *_, c in corners])
    try:
        table = sample_pixels(made, GRID, per_field=6, seed=seed)
    except SampleError as error:
        assert "no usable pixel" in str(error)
        return
    assert not table.duplicated(["row", "col"]).any()
    assert table.groupby("field_id").size().max() <= 6
    inside = made.set_index("field_id").geometry.loc[table["field_id"]]
    # half a pixel inside is what the rule for narrow fields promises; shrunk fields are 10 m inside
    assert (shapely.distance(inside.boundary.values, shapely.points(table[["x", "y"]])) >= 5 - 1e-6).all()
    assert shapely.contains_xy(inside.values, table["x"], table["y"]).all()
    assert np.allclose(table["x"], X0 + 10 * table["col"] + 5) and np.allclose(
        table["y"], Y0 + 300 - 10 * table["row"] - 5
    )
    again = sample_pixels(made.sample(frac=1, random_state=seed), GRID, per_field=6, seed=seed)
    pd.testing.assert_frame_equal(table, again)
    gone = table.attrs["summary"]
    assert gone["pixels"] == len(table) and gone["fields"] == table["field_id"].nunique()


# --- folds --------------------------------------------------------------------------------------------------------


@st.composite
def tables(draw) -> pd.DataFrame:
    fields = draw(st.integers(8, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    field = np.repeat(np.arange(fields), rng.integers(1, 9, fields))
    centre = rng.uniform(0, 4000, (fields, 2))
    xy = centre[field] + rng.uniform(-60, 60, (len(field), 2))
    return pd.DataFrame(
        {"field_id": field, "class_id": rng.integers(1, 4, fields)[field], "x": xy[:, 0], "y": xy[:, 1]}
    )


@settings(max_examples=80, deadline=None)
@given(table=tables(), kind=st.sampled_from(["random", "field", "block"]), n=st.integers(2, 5), seed=st.integers(0, 99))
def test_folds(table: pd.DataFrame, kind: str, n: int, seed: int):
    try:
        fold = folds(table, kind, n=n, block_m=600.0, seed=seed)
    except SampleError:
        per_class = table.groupby("class_id")["field_id"].nunique()
        assert kind == "block" or per_class.min() < 2 or len(table) < n
        return
    assert fold.shape == (len(table),) and set(fold) == set(range(n))  # every row has a fold, every fold has rows
    assert table.assign(fold=fold).groupby("class_id")["fold"].nunique().min() >= 2
    if kind != "random":
        assert table.assign(fold=fold).groupby("field_id")["fold"].nunique().max() == 1
    if kind == "block":
        moved = table.assign(x=table["x"] + 600 * 7 + 50, y=table["y"] - 600 * 3 + 70)
        assert (folds(moved, kind, n=n, block_m=600.0, origin=(50.0, 70.0), seed=seed) == fold).all()
        centre = table.groupby("field_id")[["x", "y"]].transform("mean") // 600
        assert table.assign(fold=fold).groupby([centre["x"], centre["y"]])["fold"].nunique().max() == 1
    assert (fold == folds(table, kind, n=n, block_m=600.0, seed=seed)).all()


def test_folds_are_balanced():
    rng = np.random.default_rng(1)
    field = np.repeat(np.arange(200), 10)
    table = pd.DataFrame({"field_id": field, "class_id": rng.choice([1, 2, 3], 200, p=[0.7, 0.25, 0.05])[field]})
    counts = pd.crosstab(table["class_id"], folds(table, "field"))
    assert (counts.max(axis=1) - counts.min(axis=1)).max() <= 20  # two fields


@pytest.mark.parametrize("bad", [{"kind": "pixel"}, {"kind": "field", "n": 1}, {"kind": "block", "block_m": 0.0}])
def test_folds_that_mean_nothing(bad: dict):
    table = pd.DataFrame({"field_id": [1, 2], "class_id": [1, 1], "x": [0.0, 9.0], "y": [0.0, 9.0]})
    with pytest.raises(SampleError, match="random, field or block"):
        folds(table, **bad)


def test_blocks_need_places():
    with pytest.raises(SampleError, match="x and y, metres"):
        folds(pd.DataFrame({"field_id": [1, 2], "class_id": [1, 1]}), "block")


@given(n=st.integers(2, 30))
def test_origins_are_spread(n: int):
    origins = np.array(block_origins(1000.0, n))
    assert origins.shape == (n, 2) and (origins >= 0).all() and (origins < 1000).all() and (origins[0] == 0).all()
    for axis in origins.T:  # on a circle no gap is wider than three even steps
        gaps = np.diff([*np.sort(axis), 1000 + axis.min()])
        assert gaps.max() < 3 * 1000 / n and gaps.min() > 0


@settings(max_examples=40, deadline=None)
@given(table=tables(), seed=st.integers(0, 99))
def test_labels_by_lot(table: pd.DataFrame, seed: int):
    lot = shuffled_field_labels(table, seed)
    drawn = table.assign(class_id=lot)
    assert drawn.groupby("field_id")["class_id"].nunique().max() == 1
    fields = [t.groupby("field_id")["class_id"].first() for t in (table, drawn)]
    assert sorted(fields[0]) == sorted(fields[1])
    order = np.random.default_rng(seed).permutation(len(table))
    assert (shuffled_field_labels(table.iloc[order], seed) == lot[order]).all()


def test_a_field_with_two_classes_has_no_label_to_exchange():
    with pytest.raises(SampleError, match="more than one class in field 7"):
        shuffled_field_labels(pd.DataFrame({"field_id": [7, 7, 8], "class_id": [1, 2, 1]}))


@settings(max_examples=40, deadline=None)
@given(table=tables())
def test_fields_weigh_the_same(table: pd.DataFrame):
    weight = field_weights(table)
    assert (
        np.isclose(weight.mean(), 1) and np.ptp(table.assign(weight=weight).groupby("field_id")["weight"].sum()) < 1e-9
    )


# --- the table ----------------------------------------------------------------------------------------------------


def test_table_is_written_whole_and_twice_alike(tmp_path: Path):
    pixels = sample_pixels(labels([box(X0, Y0, X0 + 90, Y0 + 90)]), GRID)
    X = np.random.default_rng(0).normal(size=(len(pixels), 51)).astype("float32")
    for name in "ab":
        save_table(tmp_path / f"{name}.parquet", pixels, X)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    table, back = load_table(tmp_path / "a.parquet")
    assert (back == X).all() and back.dtype == np.float32 and list(table.columns) == list(pixels.columns)


def test_tables_that_do_not_fit(tmp_path: Path):
    pixels = sample_pixels(labels([box(X0, Y0, X0 + 90, Y0 + 90)]), GRID)
    with pytest.raises(SampleError, match="no feature in any of 25 pixels"):
        save_table(tmp_path / "a.parquet", pixels, np.full((25, 51), np.nan, "float32"))
    with pytest.raises(SampleError, match=r"shape \(25, 50\)"):
        save_table(tmp_path / "a.parquet", pixels, np.zeros((25, 50), "float32"))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StoreError, match="no such file"):
        load_table(tmp_path / "a.parquet")
    save_table(tmp_path / "a.parquet", pixels, np.zeros((25, 2), "float32"), features=FEATURE_ORDER_V1[:2])
    with pytest.raises(SampleError, match=f"without {FEATURE_ORDER_V1[2]}"):
        load_table(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:700])
    with pytest.raises(SampleError, match="cannot be read"):
        load_table(tmp_path / "b.parquet")


def test_iris_as_a_csv_and_as_parquet(tmp_path: Path):
    from sklearn.datasets import load_iris

    iris = load_iris(as_frame=True)
    table = iris.data.assign(species=iris.target_names[iris.target])
    table.to_csv(tmp_path / "iris.csv", index=False)
    table.to_parquet(tmp_path / "iris.parquet")
    read = [
        load_table(tmp_path / name, features=iris.feature_names, class_column="species", group_column=None)
        for name in ("iris.csv", "iris.parquet")
    ]
    for rows, X in read:
        assert (iris.data.to_numpy("float32") == X).all() and (rows["class_id"] == iris.target + 1).all()
        assert rows["field_id"].is_unique and set(rows.columns) == {"species", "field_id", "class_id"}
        assert len(set(folds(rows, "field"))) == 5


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"features": ["ndvi", "crop"], "class_column": "crop"}, "crop among the features"),
        ({"features": ["ndvi", "farm"], "class_column": "crop"}, "farm that is no number"),
        ({"features": ["ndvi"], "class_column": "species"}, "without species"),
        ({"features": ["ndvi"], "class_column": "crop", "group_column": "plot"}, "without plot"),
    ],
)
def test_tables_of_others_that_do_not_fit(tmp_path: Path, told: dict, match: str):
    (tmp_path / "a.csv").write_text("crop,farm,ndvi\nmaize,Moyo,0.4\ncotton,Dube,0.3\n")
    with pytest.raises(SampleError, match=match):
        load_table(tmp_path / "a.csv", **{"group_column": None} | told)


def test_a_table_of_an_unknown_kind(tmp_path: Path):
    with pytest.raises(SampleError, match=r"suffix '\.xlsx'"):
        load_table(tmp_path / "a.xlsx")

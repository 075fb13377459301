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
from shapely.geometry import LineString, Point, Polygon, box

from geocrop.samples import folds, load_table, read_labels, sample_pixels, save_table
from geocrop.schema import FEATURE_ORDER_V1, Legend, SampleError

LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in range(1, 8)])
X0, Y0 = 286_000, 8_027_000
GRID = GeoBox.from_bbox((X0, Y0, X0 + 400, Y0 + 300), crs="EPSG:32736", resolution=10)


def labels(shapes: list, classes: list[int] | None = None, fields: list[int] | None = None) -> gpd.GeoDataFrame:
    fields = fields or list(range(1, len(shapes) + 1))
    return gpd.GeoDataFrame({"field_id": fields, "class_id": classes or [1] * len(shapes)}, geometry=shapes, crs=32736)


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    return path


# --- labels that do not fit ---------------------------------------------------------------------------------------


def test_formats_agree(tmp_path: Path):
    made = labels([box(X0, Y0, X0 + 50, Y0 + 50), Point(X0 + 90, Y0 + 90)], [1, 3])
    made.to_crs(4326).to_file(tmp_path / "a.geojson", driver="GeoJSON")
    one, two = read_labels(write(made, tmp_path / "a.parquet"), LEGEND), read_labels(tmp_path / "a.geojson", LEGEND)
    assert one[["field_id", "class_id"]].equals(two[["field_id", "class_id"]])
    assert shapely.hausdorff_distance(one.geometry.values, two.geometry.values).max() < 1e-7
    assert str(one.dtypes["field_id"]) == str(one.dtypes["class_id"]) == "int64"
    pd.testing.assert_frame_equal(sample_pixels(one, GRID), sample_pixels(two, GRID))


def test_missing_file(tmp_path: Path):
    with pytest.raises(SampleError, match="no such file"):
        read_labels(tmp_path / "none.parquet", LEGEND)


def test_unknown_suffix(tmp_path: Path):
    (tmp_path / "a.shp").write_text("x")
    with pytest.raises(SampleError, match=r"suffix '\.shp'"):
        read_labels(tmp_path / "a.shp", LEGEND)


@pytest.mark.parametrize("name", ["a.parquet", "a.geojson"])
def test_damaged_file(tmp_path: Path, name: str):
    (tmp_path / name).write_text('{"type": "Feature')
    with pytest.raises(SampleError, match="cannot be read"):
        read_labels(tmp_path / name, LEGEND)


def test_parquet_without_geometry(tmp_path: Path):
    pd.DataFrame({"field_id": [1], "class_id": [1]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(SampleError, match="cannot be read"):
        read_labels(tmp_path / "a.parquet", LEGEND)


def test_empty_files(tmp_path: Path):
    (tmp_path / "a.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    for path in (tmp_path / "a.geojson", write(labels([Point(X0, Y0)]).iloc[:0], tmp_path / "a.parquet")):
        with pytest.raises(SampleError, match="0 rows"):
            read_labels(path, LEGEND)


def test_no_crs(tmp_path: Path):
    path = write(labels([Point(X0, Y0)]).set_crs(None, allow_override=True), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match="no coordinate reference system"):
        read_labels(path, LEGEND)


@pytest.mark.parametrize("columns", [{"class_column": "crop"}, {"field_column": "farm"}])
def test_missing_column(tmp_path: Path, columns: dict):
    path = write(labels([Point(X0, Y0)]), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match=f"no column '{next(iter(columns.values()))}'.*field_id, class_id, geometry"):
        read_labels(path, LEGEND, **columns)


def test_class_outside_the_legend_names_ids_rows_and_legend(tmp_path: Path):
    path = write(labels([Point(X0 + i, Y0) for i in range(5)], [1, 9, 9, 12, 2]), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match=r"9 \(2 rows\), 12 \(1 rows\).*1 crop_1, 2 crop_2"):
        read_labels(path, LEGEND)


@pytest.mark.parametrize("column", [["maize", "1"], [1.5, 1.0], [np.nan, 1.0]])
def test_class_that_is_no_number(tmp_path: Path, column: list):
    frame = labels([Point(X0, Y0), Point(X0 + 9, Y0)]).assign(class_id=column)
    with pytest.raises(SampleError, match="whole numbers"):
        read_labels(write(frame, tmp_path / "a.parquet"), LEGEND)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        (None, "no geometry"), (Polygon(), "no geometry"), (LineString([(X0, Y0), (X0 + 9, Y0)]), "type LineString"),
        (Polygon([(X0, Y0), (X0 + 9, Y0 + 9), (X0 + 9, Y0), (X0, Y0 + 9)]), "Self-intersection"),
    ],
)  # fmt: skip
def test_geometry_that_cannot_be_used(tmp_path: Path, shape: object, told: str):
    path = write(labels([Point(X0, Y0), shape], fields=[7, 42]), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match=rf"{told} in 1 rows \(field 42\)"):
        read_labels(path, LEGEND)


def test_quality(tmp_path: Path):
    path = write(labels([Point(X0 + i, Y0) for i in range(4)]).assign(sure=[3, 1, np.nan, 2]), tmp_path / "a.parquet")
    kept = read_labels(path, LEGEND, quality_column="sure", min_quality=2)
    assert kept["field_id"].tolist() == [1, 4] and kept.attrs["summary"] == {"rows": 4, "below_quality": 2}
    with pytest.raises(SampleError, match=r"best quality 3\.0"):
        read_labels(path, LEGEND, quality_column="sure", min_quality=9)


def test_rows_as_fields(tmp_path: Path):
    path = write(labels([Point(X0 + i, Y0) for i in range(3)]).drop(columns="field_id"), tmp_path / "a.parquet")
    assert read_labels(path, LEGEND, field_column=None)["field_id"].tolist() == [1, 2, 3]


def test_herault(shared_data: Path):
    ids = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in range(1, 8)])
    read = read_labels(shared_data / "herault_2018/labels/parcels.geojson", ids, field_column="parcel_id")
    assert len(read) == read["field_id"].nunique() == 120
    grid = GeoBox.from_bbox((523_560, 4_829_360, 525_880, 4_832_890), crs="EPSG:32631", resolution=10)
    every = sample_pixels(read, grid, per_field=10_000)
    # labels/pixels.parquet of the data set holds all 10,703 pixels 10 m inside the parcels; ours adds deepest pixels
    inner = pd.read_parquet(shared_data / "herault_2018/labels/pixels.parquet")
    assert abs(len(every) - every.attrs["summary"]["deepest_pixel"] - len(inner)) < 0.02 * len(inner)


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
    with pytest.raises(SampleError, match="no such file"):
        load_table(tmp_path / "a.parquet")
    save_table(tmp_path / "a.parquet", pixels, np.zeros((25, 2), "float32"), features=FEATURE_ORDER_V1[:2])
    with pytest.raises(SampleError, match=f"without {FEATURE_ORDER_V1[2]}"):
        load_table(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:700])
    with pytest.raises(SampleError, match="cannot be read"):
        load_table(tmp_path / "b.parquet")

"""Labels of everybody: what teaches nobody, but must hold."""

from pathlib import Path

import boto3
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import swift_s3
from geopandas.testing import assert_geodataframe_equal
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely.geometry import LineString, Point, Polygon, box

from geocrop.labels import CONVENTIONS, numbered, read_labels, recognise
from geocrop.samples import load_table, sample_pixels
from geocrop.schema import Legend, SampleError, SchemaError, Season, StoreError

LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in range(1, 8)])
X0, Y0 = 286_000, 8_027_000
GRID = GeoBox.from_bbox((X0, Y0, X0 + 400, Y0 + 300), crs="EPSG:32736", resolution=10)


def labels(shapes: list, classes: list[int] | None = None, fields: list[int] | None = None) -> gpd.GeoDataFrame:
    fields = fields or list(range(1, len(shapes) + 1))
    return gpd.GeoDataFrame({"field_id": fields, "class_id": classes or [1] * len(shapes)}, geometry=shapes, crs=32736)


def write(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    return path


def points(n: int) -> gpd.GeoDataFrame:
    return labels([Point(X0 + i, Y0) for i in range(n)])


# --- files --------------------------------------------------------------------------------------------------------


def test_formats_agree(tmp_path: Path):
    made = labels([box(X0, Y0, X0 + 50, Y0 + 50), Point(X0 + 90, Y0 + 90)], [1, 3])
    made.to_crs(4326).to_file(tmp_path / "a.geojson", driver="GeoJSON")
    one, two = read_labels(write(made, tmp_path / "a.parquet"), LEGEND), read_labels(tmp_path / "a.geojson", LEGEND)
    assert one[["field_id", "class_id"]].equals(two[["field_id", "class_id"]])
    assert shapely.hausdorff_distance(one.geometry.values, two.geometry.values).max() < 1e-7
    assert str(one.dtypes["field_id"]) == str(one.dtypes["class_id"]) == "int64"
    pd.testing.assert_frame_equal(sample_pixels(one, GRID), sample_pixels(two, GRID))


def test_a_csv_is_the_points_it_says(tmp_path: Path):
    made = points(3).assign(class_id=[1, 2, 3]).to_crs(4326)
    table = pd.DataFrame(made.drop(columns="geometry")).assign(lon=made.geometry.x, lat=made.geometry.y)
    table.to_csv(tmp_path / "a.csv", index=False)
    read, same = read_labels(tmp_path / "a.csv", LEGEND), read_labels(write(made, tmp_path / "a.parquet"), LEGEND)
    assert_geodataframe_equal(read, same)
    table.rename(columns={"lon": "x"}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(SampleError, match="no column 'lon'"):
        read_labels(tmp_path / "b.csv", LEGEND)
    table.assign(lat=[1, np.nan, 2]).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(SampleError, match=r"1 rows such as lon .* lat nan"):
        read_labels(tmp_path / "c.csv", LEGEND)


def test_missing_file(tmp_path: Path):
    with pytest.raises(StoreError, match="no such file"):
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
    (tmp_path / "a.csv").write_text("lon,lat,class_id,field_id\n")
    for path in (
        tmp_path / "a.geojson",
        tmp_path / "a.csv",
        write(labels([Point(X0, Y0)]).iloc[:0], tmp_path / "a.parquet"),
    ):
        with pytest.raises(SampleError, match="0 rows"):
            read_labels(path, LEGEND)
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(SampleError, match="cannot be read"):
        read_labels(tmp_path / "b.csv", LEGEND)


def test_no_crs(tmp_path: Path):
    path = write(labels([Point(X0, Y0)]).set_crs(None, allow_override=True), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match="no coordinate reference system"):
        read_labels(path, LEGEND)


def test_herault(shared_data: Path):
    ids = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in range(1, 8)])
    read = read_labels(shared_data / "herault_2018/labels/parcels.geojson", ids, field_column="parcel_id")
    assert len(read) == read["field_id"].nunique() == 120
    grid = GeoBox.from_bbox((523_560, 4_829_360, 525_880, 4_832_890), crs="EPSG:32631", resolution=10)
    every = sample_pixels(read, grid, per_field=10_000)
    # labels/pixels.parquet of the data set holds all 10,703 pixels 10 m inside the parcels; ours adds deepest pixels
    inner = pd.read_parquet(shared_data / "herault_2018/labels/pixels.parquet")
    assert abs(len(every) - every.attrs["summary"]["deepest_pixel"] - len(inner)) < 0.02 * len(inner)
    with pytest.raises(SampleError, match="no column for the field"):  # its points have an id, which is not the parcel
        read_labels(shared_data / "herault_2018/labels/points.geojson", ids)


# --- labels and tables in the store -------------------------------------------------------------------------------


def test_labels_and_tables_of_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(points(3), tmp_path / "survey.parquet")
    points(3).to_crs(4326).to_file(tmp_path / "survey.geojson", driver="GeoJSON")
    (tmp_path / "table.csv").write_text("class_id,field_id,ndvi\n1,1,0.5\n2,2,0.25\n")
    before = set(tmp_path.iterdir())
    (tmp_path / "swift").mkdir()
    with swift_s3.serve(tmp_path / "swift") as server:
        for name, value in (server.environment | {"AWS_NO_SIGN_REQUEST": ""}).items():
            monkeypatch.setenv(name, value)
        s3 = boto3.client(
            "s3", endpoint_url=server.endpoint, region_name="us-east-1",
            aws_access_key_id=swift_s3.ACCESS_KEY, aws_secret_access_key=swift_s3.SECRET_KEY,
        )  # fmt: skip
        s3.create_bucket(Bucket="geocrop-datasets")
        for path in before:
            s3.upload_file(path, "geocrop-datasets", f"2022/{path.name}")
        for name in ("survey.parquet", "survey.geojson"):
            far, near = (read_labels(f"{place}/{name}", LEGEND) for place in ("s3://geocrop-datasets/2022", tmp_path))
            assert_geodataframe_equal(far, near)
        table, X = load_table("s3://geocrop-datasets/2022/table.csv", features=["ndvi"])
        assert X.tolist() == [[0.5], [0.25]] and table["class_id"].tolist() == [1, 2]
        with pytest.raises(StoreError, match="no such file"):
            read_labels("s3://geocrop-datasets/2023/survey.parquet", LEGEND)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(StoreError, match=r"cannot be read.*the keys"):
            read_labels("s3://geocrop-datasets/2022/survey.parquet", LEGEND)


# --- columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [{"class_column": "crop"}, {"field_column": "farm"}, {"date_column": "seen"}])
def test_missing_column(tmp_path: Path, columns: dict):
    path = write(labels([Point(X0, Y0)]), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match=f"no column '{next(iter(columns.values()))}'.*field_id, class_id, geometry"):
        read_labels(path, LEGEND, season=Season(2022), **columns)


NAMES = sorted({name for names in CONVENTIONS.values() for name in names.values()} | {"crop", "geometry", "fid"})


@given(columns=st.sets(st.sampled_from(NAMES)))
def test_nothing_is_guessed(columns: set[str]):
    "Whatever a file has: either every column is of the one convention whose mark is there, or it is an error."
    marks = [names for names in CONVENTIONS.values() if names["mark"] in columns]
    try:
        found = recognise(sorted(columns), {"class": "", "field": "", "date": "", "quality": ""})
    except SampleError:
        assert len(marks) != 1 or marks[0]["class"] not in columns or marks[0]["field"] not in columns
        return
    for role, column in found.items():
        assert {names.get(role) for names in marks} & columns == ({column} if column else set())
    assert all(column in columns for column in found.values() if column)


def test_rows_as_fields(tmp_path: Path):
    path = write(points(3).drop(columns="field_id"), tmp_path / "a.parquet")
    assert read_labels(path, LEGEND, field_column=None)["field_id"].tolist() == [1, 2, 3]
    with pytest.raises(SampleError, match=r"no column for the field.*None: every label is a field"):
        read_labels(path, LEGEND)


@given(names=st.lists(st.text("abcä-0", min_size=1).map(lambda s: f"f{s}"), min_size=1), seed=st.integers(0, 9))
def test_names_are_numbered_in_sorted_order(names: list[str], seed: int):
    ids = numbered(pd.Series(names), "Labels")
    assert dict(zip(names, ids, strict=True)) == {name: i for i, name in enumerate(sorted(set(names)), 1)}
    order = np.random.default_rng(seed).permutation(len(names))
    assert (numbered(pd.Series(names).iloc[order], "Labels") == ids[order]).all()


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (["3", "1", "02"], [3, 1, 2]), ([3.0, 1.0], [3, 1]), ([2**62 + 1, 5], [2**62 + 1, 5]),
        (["9007199254740993", "1"], [9007199254740993, 1]), (["3", "1a"], [2, 1]),
        ([2**63 + 5, 2**63 + 4], [2, 1]), (["98765432109876543210", "1"], [2, 1]),
    ],
)  # fmt: skip
def test_numbers_stay(values: list, ids: list[int]):
    found = numbered(pd.Series(values), "Labels")
    assert found.dtype == np.int64 and found.tolist() == ids


@pytest.mark.parametrize("values", [[1.5, 1.0], [np.nan, 1.0], ["a", None], ["a", " "], [np.inf, 1.0]])
def test_neither_number_nor_name(values: list):
    with pytest.raises(SampleError, match="whole numbers, or names"):
        numbered(pd.Series(values, name="field_id"), "Labels")


def test_columns_of_a_file_may_have_our_names_and_any_index(tmp_path: Path):
    made = points(3).assign(
        field=["Maize", "Soft  wheat", "soft-wheat"], date=["2023-01-01", "2019-01-01", "2023-01-01"]
    )
    legend = Legend.of([{"id": i, "name": n, "colour": "#000000"} for i, n in ((4, "maize"), (7, "soft_wheat"))])
    path = write(made.set_index(pd.Index([5, 5, 5])), tmp_path / "a.parquet")
    read = read_labels(path, legend, class_column="field", season=Season(2022))
    assert read[["field_id", "field", "class_id"]].to_numpy().tolist() == [[1, "1", 4], [3, "3", 7]]


# --- classes ------------------------------------------------------------------------------------------------------


def test_class_outside_the_legend_names_ids_rows_and_legend(tmp_path: Path):
    path = write(points(5).assign(class_id=[1, 9, 9, 12, 2]), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match=r"9 \(2 rows\), 12 \(1 rows\).*1 crop_1, 2 crop_2"):
        read_labels(path, LEGEND)


@pytest.mark.parametrize(
    ("column", "told"),
    [(["maize", "1"], r"1 \(1 rows\), maize \(1 rows\)"), ([1.5, 1.0], "broken"), ([np.nan, 1.0], "nothing in 1")],
)
def test_class_that_is_none(tmp_path: Path, column: list, told: str):
    frame = points(2).assign(class_id=column)
    with pytest.raises(SampleError, match=told):
        read_labels(write(frame, tmp_path / "a.parquet"), LEGEND)


CODES = [11, 1101, 110106, 1101060000, 1106000020, 20]


@given(
    codes=st.lists(st.integers(1_000_000_000, 9_999_999_999) | st.sampled_from([1101060000, 1101060001]), min_size=1)
)
@settings(deadline=None, max_examples=40)
def test_the_longest_beginning_of_a_code_decides(codes: list[int]):
    from geocrop.labels import _class_ids

    rows = [{"id": i, "name": f"crop_{i}", "colour": "#000000", "ewoc": [code]} for i, code in enumerate(CODES)]
    known = {code: max((c for c in CODES if str(code).startswith(str(c))), default=None) for code in codes}
    if None in known.values():
        with pytest.raises(SampleError, match="outside the legend"):
            _class_ids(pd.Series(codes, name="ewoc_code"), Legend.of(rows), "a")
    else:
        ids = _class_ids(pd.Series(codes), Legend.of(rows), "a")
        assert ids.tolist() == [CODES.index(known[code]) for code in codes]


@pytest.mark.parametrize("codes", [["110106"], [0], [11010600000], [-11], [11, 11]])
def test_codes_that_are_none(codes: list):
    with pytest.raises(SchemaError, match="WorldCereal codes"):
        Legend.of(
            [
                {"id": 1, "name": "maize", "colour": "#000000", "ewoc": codes},
                {"id": 2, "name": "b", "colour": "#000000"},
            ]
        )


# --- geometry, quality, dates -------------------------------------------------------------------------------------


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
    path = write(points(4).assign(sure=[3, 1, np.nan, 2]), tmp_path / "a.parquet")
    kept = read_labels(path, LEGEND, quality_column="sure", min_quality=2)
    assert kept["field_id"].tolist() == [1, 4]
    assert kept.attrs["summary"] == {"rows": 4, "below_quality": 2, "out_of_season": 0, "undated": 0}
    assert len(read_labels(path, LEGEND, quality_column="sure")) == 4  # no quality asked for
    with pytest.raises(SampleError, match=r"best quality 3\.0"):
        read_labels(path, LEGEND, quality_column="sure", min_quality=9)
    with pytest.raises(SampleError, match="no column 'quality'"):
        read_labels(path, LEGEND, min_quality=1)


@pytest.mark.parametrize("kind", ["text", "moment", "day", "zone"])
def test_first_and_last_day_of_the_season_are_in_it(tmp_path: Path, kind: str):
    days = ["2022-08-31", "2022-09-01", "2023-05-31", "2023-06-01", None]
    dates = {
        "text": days,
        "moment": [d and f"{d}T23:59:59Z" for d in days],
        "day": pd.to_datetime(days),
        "zone": pd.to_datetime(days).tz_localize("UTC"),
    }[kind]
    path = write(points(5).assign(date=dates), tmp_path / "a.parquet")
    kept = read_labels(path, LEGEND, season=Season(2022))
    assert kept["field_id"].tolist() == [2, 3, 5]
    assert kept.attrs["summary"] == {"rows": 5, "below_quality": 0, "out_of_season": 2, "undated": 1}
    assert len(read_labels(path, LEGEND, season=Season(2022), date_column=None)) == len(read_labels(path, LEGEND)) == 5
    with pytest.raises(SampleError, match="dates from 2022-08-31 to 2023-06-01"):
        read_labels(write(points(4).assign(date=dates[:4]), path), LEGEND, season=Season(2019))


@pytest.mark.parametrize("date", ["29/01/2023", "2023", 2023, "2023-13-01", "January"])
def test_dates_that_can_be_read_in_two_ways_or_none(tmp_path: Path, date: object):
    path = write(points(2).assign(date=[date, date]), tmp_path / "a.parquet")
    with pytest.raises(SampleError, match=r"2 rows such as .*YYYY-MM-DD"):
        read_labels(path, LEGEND, season=Season(2022))

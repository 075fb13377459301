"""Smoothing against its formulae, and votes of fields against pixels asked one by one."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from shapely.geometry import LineString, MultiPolygon, Point, Polygon, box

from geocrop.neighbours import Fields, Smoothing, smooth
from geocrop.schema import Legend, ProductError, SampleError

LEGEND = Legend.of(
    [{"id": n, "name": name, "colour": "#000000"} for n, name in ((7, "maize"), (2, "tobacco"), (5, "bare"))]
)
GRID = GeoBox.from_bbox((290_000, 8_027_000, 295_300, 8_030_000), "EPSG:32736", resolution=10)


def probabilities(seed: int, shape: tuple[int, int, int], missing: float = 0.1, unseen: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    proba = np.exp(rng.normal(0, 2, shape))
    if unseen:
        proba[-1] = 0
    proba = (proba / proba.sum(axis=0)).astype("float32")
    proba[:, rng.random(shape[1:]) < missing] = np.nan
    return proba


def oracle(proba: np.ndarray, radius: int, variances: list[float], share: float) -> np.ndarray:
    "Camara et al. 2024, one pixel after the other, sorted, in float64."
    clipped = np.clip(proba.astype("float64"), 1e-4, 1 - 1e-4)
    x = np.log(clipped / (1 - clipped))
    out = np.full(proba.shape, np.nan)
    for row, col in np.argwhere(~np.isnan(proba[0])):
        post = np.empty(len(proba))
        for k, variance in enumerate(variances):
            around = [
                x[k, r, c]
                for r in range(max(0, row - radius), min(x.shape[1], row + radius + 1))
                for c in range(max(0, col - radius), min(x.shape[2], col + radius + 1))
                if (r, c) != (row, col) and not np.isnan(x[k, r, c])
            ]
            best = np.sort(around)[::-1][: int(np.ceil(round(share * len(around), 9)))]
            post[k] = x[k, row, col]
            if len(best) > 1 and variance > 0:
                s2 = best.var(ddof=1)
                post[k] = (s2 * x[k, row, col] + variance * best.mean()) / (s2 + variance)
        back = np.where(proba[:, row, col] == 0, 0, 1 / (1 + np.exp(-post)))
        out[:, row, col] = back / back.sum()
    return out


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(2, 4), st.integers(1, 9), st.integers(1, 12)),
    radius=st.integers(1, 4),
    variances=st.lists(st.sampled_from([0.0, 0.5, 5.0, 100.0]), min_size=4, max_size=4),
    share=st.sampled_from([0.05, 0.1, 0.5, 0.7, 1.0]),
    missing=st.sampled_from([0.0, 0.2, 0.9]),
    unseen=st.booleans(),
)
def test_smoothing_is_that_of_the_paper(
    seed: int,
    shape: tuple[int, int, int],
    radius: int,
    variances: list[float],
    share: float,
    missing: float,
    unseen: bool,
):
    proba = probabilities(seed, shape, missing, unseen)
    of_each = variances[: shape[0]]
    found = smooth(proba, Smoothing(radius, tuple(of_each), share))
    assert found.dtype == np.float32
    # logits are kept in 16 bit: steps of 0.0003, which a small variance of two neighbours shows several times over
    assert np.allclose(found, oracle(proba, radius, of_each, share), rtol=0, atol=1e-3, equal_nan=True)
    seen = ~np.isnan(proba[0])
    assert np.array_equal(np.isnan(found), np.isnan(proba))
    assert np.allclose(found[:, seen].sum(axis=0), 1, atol=1e-6)
    assert not found[proba == 0].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.integers(1, 5), window=st.tuples(*[st.integers(0, 24)] * 4))
def test_a_window_with_a_halo_of_the_radius_is_a_window_of_the_whole(
    seed: int, radius: int, window: tuple[int, int, int, int]
):
    proba, rule = probabilities(seed, (3, 25, 25)), Smoothing(radius, 5.0)
    top, bottom, left, right = *sorted(window[:2]), *sorted(window[2:])
    north, west = max(0, top - radius), max(0, left - radius)
    part = smooth(proba[:, north : bottom + 1 + radius, west : right + 1 + radius], rule)
    inner = part[:, top - north : bottom + 1 - north, left - west : right + 1 - west]
    assert np.array_equal(smooth(proba, rule)[:, top : bottom + 1, left : right + 1], inner, equal_nan=True)


def test_smoothing_leaves_its_input_alone_and_takes_any_layout():
    proba = probabilities(3, (3, 20, 30))
    before = proba.copy()
    found = smooth(proba, Smoothing())
    assert np.array_equal(proba, before, equal_nan=True)
    pixels_first = np.ascontiguousarray(proba.transpose(1, 2, 0)).transpose(2, 0, 1)
    assert np.array_equal(smooth(pixels_first, Smoothing()), found, equal_nan=True)


def test_without_trust_in_the_neighbours_nothing_moves():
    proba = probabilities(5, (3, 15, 15))
    assert np.allclose(smooth(proba, Smoothing(2, 0.0)), proba, atol=2e-4, equal_nan=True)


def test_certain_neighbours_win_and_a_lonely_pixel_stays():
    proba = np.full((2, 5, 5), np.nan, "float32")
    proba[:, 2, 2] = 0.1, 0.9
    assert np.allclose(smooth(proba, Smoothing(2)), proba, atol=1e-6, equal_nan=True)
    proba[:] = np.array([0.9, 0.1])[:, None, None]
    proba[:, 2, 2] = 0.1, 0.9
    assert np.allclose(smooth(proba, Smoothing(2))[:, 2, 2], [0.9, 0.1], atol=1e-3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"radius_px": 0}, {"radius_px": 11}, {"radius_px": 1.5}, {"smoothness": -1.0}, {"smoothness": float("nan")},
        {"smoothness": float("inf")}, {"smoothness": ()}, {"smoothness": (1.0, -1.0)}, {"share": 0.0}, {"share": 1.01},
    ],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(wrong: dict):
    with pytest.raises(ProductError, match=f"Smoothing, {next(iter(wrong))}"):
        Smoothing(**wrong)


# --- fields ----------------------------------------------------------------------------------------------------------


def table(*shapes: shapely.Geometry, crs: int | None = 32736) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(geometry=list(shapes), crs=crs)


def blobs(seed: int, count: int) -> gpd.GeoDataFrame:
    "Fields of many corners and sizes that overlap each other and the edges of the grid."
    rng = np.random.default_rng(seed)
    centres = [290_000, 8_027_000] + rng.random((count, 2)) * [5_300, 3_000]
    turns = np.sort(rng.random((count, 9)), axis=1) * 2 * np.pi
    reach = rng.uniform(0.4, 1, (count, 9)) * rng.choice([8, 60, 400], (count, 1))
    around = np.stack([np.cos(turns), np.sin(turns)], axis=-1) * reach[..., None] + centres[:, None]
    return table(*shapely.make_valid(shapely.polygons(around), method="structure", keep_collapsed=False))


def maps(seed: int) -> tuple[np.ndarray, np.ndarray]:
    "A product of the grid and the probabilities behind it."
    rng = np.random.default_rng(seed)
    proba = probabilities(seed, (3, *GRID.shape), missing=0.05)
    best = np.sort(np.nan_to_num(proba), axis=0)[::-1]
    ids = np.array(LEGEND.ids)[np.nan_to_num(proba).argmax(axis=0)]
    bands = ids, np.rint(100 * best[0]), np.rint(100 * (best[0] - best[1])), rng.integers(0, 40, ids.shape)
    block = np.stack([*bands, rng.choice([0, 1, 255], ids.shape)]).astype("uint8")
    block[:3, np.isnan(proba[0])] = block[4, np.isnan(proba[0])] = 255
    block[:, :40, :30] = 255  # outside the outline
    return block, proba


def windows(height: int, width: int) -> list[tuple[slice, slice]]:
    shape = GRID.shape
    return [
        (slice(top, min(top + height, shape[0])), slice(left, min(left + width, shape[1])))
        for top in range(0, shape[0], height)
        for left in range(0, shape[1], width)
    ]


WHOLE = windows(*GRID.shape)[0]


def owners(fields: gpd.GeoDataFrame) -> np.ndarray:
    "The first field that holds each pixel's centre, -1: none."
    x = 290_000 + 10 * (np.arange(GRID.shape[1]) + 0.5)
    y = 8_030_000 - 10 * (np.arange(GRID.shape[0]) + 0.5)
    east, north = np.meshgrid(x, y)
    owner = np.full(GRID.shape, -1)
    for number, shape in reversed(list(enumerate(fields.geometry))):
        owner[shapely.contains_xy(shape, east, north)] = number
    return owner


@pytest.mark.parametrize("seed", range(3))
def test_each_pixel_is_of_the_first_field_that_holds_its_centre(seed: int):
    fields = blobs(seed, 60)
    expected = owners(fields)
    assert (expected >= 0).mean() > 0.1
    of_map = Fields(fields, GRID, LEGEND)
    assert np.array_equal(of_map.at(*WHOLE), expected)
    for window in windows(77, 301):
        assert np.array_equal(of_map.at(*window), expected[window])


def test_corners_on_pixel_centres_are_decided_alike_in_every_window_and_once():
    rng = np.random.default_rng(0)
    corners = np.array([290_005, 8_029_995]) + rng.integers(0, 280, (200, 3, 2)) * [10, -10]
    triangles = table(*(Polygon(c) for c in corners if Polygon(c).area > 0))
    whole = Fields(triangles, GRID, LEGEND).at(*WHOLE)
    other = Fields(triangles, GRID, LEGEND)
    for window in windows(18, 211)[::-1]:
        assert np.array_equal(other.at(*window), whole[window])
    halves = table(box(290_005, 8_029_005, 290_505, 8_029_995), box(290_505, 8_029_005, 291_005, 8_029_995))
    parts, joined = (Fields(of, GRID, LEGEND).at(*WHOLE) for of in (halves, halves.dissolve()))
    assert np.array_equal(parts >= 0, joined >= 0)  # a shared edge through centres loses none
    assert (parts == 0).sum() == (parts == 1).sum()


@pytest.mark.parametrize("seed", range(2))
def test_votes_are_those_of_the_pixels_whatever_the_windows(seed: int):
    fields, (block, proba) = blobs(seed, 60), maps(seed)
    owner, known = owners(fields), block[0] != 255
    one, many = Fields(fields, GRID, LEGEND), Fields(fields, GRID, LEGEND)
    one.add(*WHOLE, block)
    for window in windows(64, 150)[::-1]:
        many.add(*window, block[:, *window])
    found = one.table()
    assert found.equals(many.table())
    assert found.field_id.tolist() == list(range(1, 61))
    expected, ids = block.copy(), np.array(LEGEND.ids)
    for number, row in enumerate(found.itertuples()):
        mine = (owner == number) & known
        assert row.pixels == mine.sum()
        assert row.hectares == pytest.approx(fields.area[number] / 1e4)
        dated = block[3, owner == number]
        assert np.isclose(
            row.clear_days, dated[dated != 255].mean() if (dated != 255).any() else np.nan, equal_nan=True
        )
        if not mine.any():
            assert row.reason
            assert np.isnan([row.share, row.confidence_pct, row.applicable]).all()
            continue
        votes = {k: ((block[0, mine] == k).sum(), block[1, mine][block[0, mine] == k].sum()) for k in LEGEND.ids}
        winner = max(LEGEND.ids, key=lambda k: votes[k])  # the first of equals
        assert (row.class_id, row.class_name) == (winner, LEGEND.names[LEGEND.ids.index(winner)])
        assert row.share == pytest.approx(votes[winner][0] / mine.sum())
        assert row.confidence_pct == pytest.approx(block[1, mine].mean())
        judged = block[4, mine][block[4, mine] != 255]
        assert np.isclose(row.applicable, judged.mean() if len(judged) else np.nan, equal_nan=True)
        own = proba[list(ids).index(winner), mine]
        others = np.delete(proba[:, mine], list(ids).index(winner), axis=0).max(axis=0)
        expected[0, mine] = winner
        expected[1, mine], expected[2, mine] = np.rint(100 * own), np.rint(100 * np.maximum(0, own - others))
    before = block.copy()
    assert np.array_equal(one.apply(*WHOLE, block, proba), expected)
    assert np.array_equal(block, before)
    for window in windows(50, 199):
        assert np.array_equal(many.apply(*window, block[:, *window], proba[:, *window]), expected[:, *window])


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ((7, 60), (2, 61), "tobacco"),
        ((7, 61), (2, 60), "maize"),
        ((2, 60), (7, 60), "maize"),
        ((5, 9), (2, 9), "tobacco"),
    ],
)
def test_ties_go_to_the_surer_and_then_to_the_first_of_the_legend(first: tuple, second: tuple, winner: str):
    "7 maize, 2 tobacco, 5 bare: in this order, not that of the numbers."
    voted = Fields(table(box(290_000, 8_029_990, 290_020, 8_030_000)), GRID, LEGEND)
    block = np.full((5, 1, 2), 255, "uint8")
    block[:2, 0, 0], block[:2, 0, 1] = first, second
    voted.add(slice(0, 1), slice(0, 2), block)
    assert voted.table().class_name.tolist() == [winner]


def test_a_field_without_a_class_says_why():
    field = box(290_100, 8_029_500, 290_200, 8_029_600)
    shapes = (
        field,
        field.buffer(-20),  # below the first
        box(290_301, 8_029_501, 290_304, 8_029_599),  # between two columns of centres
        box(200_000, 8_029_500, 200_100, 8_029_600),
        box(290_300, 8_029_700, 290_400, 8_029_800),  # never seen
    )
    block, _ = maps(0)
    block[0], block[3] = 2, 3
    block[:3, 20:30, 30:40] = block[4, 20:30, 30:40] = 255
    voted = Fields(table(*shapes), GRID, LEGEND)
    voted.add(*WHOLE, block)
    found = voted.table()
    no_pixel = "no pixel of its own"
    assert found.reason.tolist() == ["", no_pixel, no_pixel, "outside the map", "no pixel with a class"]
    assert found.class_id.isna().tolist() == found.class_name.isna().tolist() == [False, True, True, True, True]
    assert found.pixels.tolist() == [100, 0, 0, 0, 0]
    assert found.clear_days.fillna(-1).tolist() == [3, -1, -1, -1, 3]  # seen too rarely: that is why


def test_the_table_survives_geoparquet(tmp_path: Path):
    fields = blobs(4, 20).assign(name=[f"plot {n}" for n in range(20)]).to_crs(4326).rename_geometry("outline")
    voted = Fields(fields, GRID, LEGEND, field_column="name")
    voted.add(*WHOLE, maps(4)[0])
    found = voted.table()
    found.to_parquet(tmp_path / "fields.parquet")
    read = gpd.read_parquet(tmp_path / "fields.parquet")
    assert read.crs == fields.crs and read.field_id.tolist() == fields.name.tolist()
    assert read.geometry.geom_equals(fields.geometry.reset_index(drop=True)).all()
    assert found.drop(columns="geometry").equals(read.drop(columns="geometry"))


def test_another_crs_another_index_a_hole_two_parts_and_a_height_make_no_difference():
    with_hole = box(290_000, 8_029_000, 290_800, 8_029_800).difference(box(290_300, 8_029_300, 290_500, 8_029_500))
    parts = MultiPolygon([box(291_000, 8_029_000, 291_200, 8_029_200), box(291_500, 8_029_000, 291_700, 8_029_200)])
    fields = table(with_hole, parts)
    here = owners(fields)
    degrees = fields.to_crs(4326).set_index([[9, 4]])
    high = fields.set_geometry(shapely.force_3d(fields.geometry, 1200.0))
    for same in (fields, degrees, high):
        assert np.array_equal(Fields(same, GRID, LEGEND).at(*WHOLE), here)


BOW_TIE = Polygon([(290_000, 8_029_000), (290_200, 8_029_200), (290_200, 8_029_000), (290_000, 8_029_200)])
GOOD = box(290_000, 8_029_000, 290_200, 8_029_200)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (table(), "found none"),
        (table(GOOD, GOOD, crs=None), "no coordinate reference system; expected"),
        (table(GOOD, None), r"no geometry in rows \[1\]"),
        (table(GOOD, Polygon()), r"no geometry in rows \[1\]"),
        (table(GOOD, Point(290_000, 8_029_000), LineString([(0, 0), (1, 1)])), r"points or lines in rows \[1, 2\]"),
        (table(BOW_TIE, GOOD), r"outlines that cross themselves in rows \[0\]"),
        (table(box(32.0, -17.8, 32.1, -17.7), crs=4326), "outside the map, from 32.0000"),
        (table(box(-17.83, 31.02, -17.82, 31.04), crs=4326), "outside the map.*longitude comes first"),
    ],
)  # fmt: skip
def test_fields_that_cannot_vote_are_refused(fields: gpd.GeoDataFrame, says: str):
    with pytest.raises(SampleError, match=says):
        Fields(fields, GRID, LEGEND)


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(SampleError, match="columns geometry; expected a column 'parcel'"):
        Fields(table(GOOD), GRID, LEGEND, field_column="parcel")

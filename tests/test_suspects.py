"""Suspicious labels: what teaches nobody, but must hold."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point, box

from geocrop.schema import FEATURE_ORDER_V1, SampleError
from geocrop.suspects import SHARED, looks_like_water, overlaps, suspects

X0, Y0 = 286_000, 8_027_000


@st.composite
def tables(draw) -> tuple[pd.DataFrame, np.ndarray, list[int]]:
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    fields, classes = draw(st.integers(20, 60)), sorted(rng.permutation(np.arange(1, 20))[: draw(st.integers(2, 5))])
    pixels = rng.integers(1, 6, fields)
    field = np.repeat(rng.permutation(1000)[:fields], pixels)
    klass = np.repeat(rng.choice(classes, fields), pixels)
    proba = rng.dirichlet(np.ones(len(classes)), len(field)) + 1.5 * (klass[:, None] == classes)
    proba /= proba.sum(axis=1, keepdims=True)
    return pd.DataFrame({"field_id": field, "class_id": klass}), proba, [int(c) for c in classes]


@settings(max_examples=60, deadline=None)
@given(made=tables(), seed=st.integers(0, 99))
def test_scores_are_those_of_the_paper_and_know_no_order(made: tuple, seed: int):
    table, proba, classes = made
    if table["class_id"].nunique() < len(classes):
        return
    found = suspects(table, proba, classes).set_index("field_id")
    for field, rows in table.groupby("field_id"):
        mean = proba[rows.index].mean(axis=0)  # by hand: Northcutt et al. 2021, section 3.2
        mine = classes.index(rows["class_id"].iloc[0])
        assert np.isclose(found.self_confidence[field], mean[mine])
        assert np.isclose(found.margin[field], (mean[mine] - np.delete(mean, mine).max() + 1) / 2)
        assert found.suggested_id[field] == classes[mean.argmax()] and found.pixels[field] == len(rows)
        assert not found.suspect[field] or found.suggested_id[field] != classes[mine]
    order, columns = (np.random.default_rng(seed).permutation(n) for n in (len(table), len(classes)))
    mixed = suspects(
        table.iloc[order].reset_index(drop=True), proba[order][:, columns], [classes[c] for c in columns]
    ).set_index("field_id")
    pd.testing.assert_frame_equal(found.sort_index(), mixed.sort_index())


def test_swapped_labels_are_found_and_a_class_nobody_wrote_is_no_harm():
    field, klass = np.repeat(np.arange(60), 4), np.repeat(np.arange(60) % 3 + 1, 4)
    rng = np.random.default_rng(0)
    proba = 0.1 + 0.6 * (klass[:, None] == [9, 3, 2, 1]) + rng.uniform(0, 0.05, (240, 4))
    proba /= proba.sum(axis=1, keepdims=True)
    wrong = np.where(field == 7, 1, klass)  # field 7 is of class 2
    found = suspects(pd.DataFrame({"field_id": field, "class_id": wrong}), proba, [9, 3, 2, 1])
    assert found["field_id"][found["suspect"]].tolist() == [7]
    assert found.iloc[0][["field_id", "class_id", "suggested_id", "pixels"]].tolist() == [7, 1, 2, 4]


def test_probabilities_that_do_not_fit():
    table = pd.DataFrame({"field_id": [1, 2], "class_id": [1, 2]})
    for proba, classes in (
        (np.ones((2, 3)), [1, 2]), (np.ones((1, 2)), [1, 2]), (np.array([[1, 0], [np.nan, 1]]), [1, 2]),
        (np.ones((2, 2)) / 2, [1, 3]),
    ):  # fmt: skip
        with pytest.raises(SampleError, match="Probabilities of the labelled pixels"):
            suspects(table, proba, classes)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999))
def test_overlaps_are_those_of_all_pairs(seed: int):
    rng = np.random.default_rng(seed)
    corner, side = rng.uniform(0, 150, (14, 2)) + np.array([X0, Y0]), rng.uniform(10, 60, (14, 2))
    shapes = [Point(*c) if rng.random() < 0.3 else box(*c, *(c + s)) for c, s in zip(corner, side, strict=True)]
    made = gpd.GeoDataFrame(
        {"field_id": np.arange(14) + 100, "class_id": rng.integers(1, 4, 14)}, geometry=shapes, crs=32736
    )
    areas = [box(s.x - 5, s.y - 5, s.x + 5, s.y + 5) if s.geom_type == "Point" else s for s in shapes]
    pairs = {}
    for i in range(14):
        for j in range(i + 1, 14):
            share = areas[i].intersection(areas[j]).area / min(areas[i].area, areas[j].area)
            if made.class_id[i] != made.class_id[j] and share >= SHARED:
                pairs[made.field_id[i], made.field_id[j]] = share
    found = overlaps(made)
    told = dict(zip(zip(found.field_id, found.other_field_id, strict=True), found.share, strict=True))
    assert told.keys() == pairs.keys() and all(np.isclose(told[key], pairs[key], atol=1e-3) for key in pairs)
    assert found["share"].is_monotonic_decreasing and not (found["class_id"] == found["other_class_id"]).any()


def test_water_is_told_by_its_season_in_any_order_of_features():
    X = np.full((4, 51), 0.3, "float32")
    thirds = [FEATURE_ORDER_V1.index(f"ndvi_{third}_mean") for third in ("early", "peak", "late")]
    X[0, thirds], X[1, thirds], X[2, thirds] = -0.2, [-0.2, -0.2, 0.01], [-0.2, np.nan, np.nan]
    X[3] = np.nan
    assert looks_like_water(X).tolist() == [True, False, True, False]
    assert looks_like_water(X[:, ::-1], FEATURE_ORDER_V1[::-1]).tolist() == [True, False, True, False]

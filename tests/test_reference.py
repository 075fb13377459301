"""Reference surveys: draws are probability samples, estimates follow the papers and the truth."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from geocrop.accuracy import area_adjusted, confusion
from geocrop.reference import allocate, coverage, draw, estimate, mapped_at, plan, sample_size
from geocrop.schema import CLASS_NODATA, Legend, SampleError

LEGEND = Legend.of([{"id": i, "name": f"crop_{i}", "colour": "#000000"} for i in (4, 1, 7)])
GRID = GeoBox((60, 80), Affine(10, 0, 500_000, 0, -10, 8_000_000), "EPSG:32736")


def land(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(LEGEND.ids, GRID.shape, p=[0.6, 0.3, 0.1]).astype("uint8")
    return truth, np.where(rng.random(GRID.shape) < 0.8, truth, rng.choice(LEGEND.ids, GRID.shape)).astype("uint8")


def hectares(classes: np.ndarray) -> list[float]:
    return [float((classes == i).sum()) / 100 for i in LEGEND.ids]


def answered(survey: pd.DataFrame, truth: np.ndarray) -> pd.DataFrame:
    return survey.assign(class_id=pd.array(truth[survey.row, survey.col], dtype="Int64"))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 999), units=st.tuples(*[st.integers(2, 60)] * 3))
def test_the_survey_of_the_map_itself_is_that_of_olofsson(seed: int, units: tuple):
    truth, mapped = land(seed)
    survey = answered(draw(mapped, GRID, LEGEND, units, seed), truth)
    ours = estimate(survey, mapped_at(survey, mapped, GRID), hectares(mapped), LEGEND)
    paper = area_adjusted(confusion(survey.class_id.astype(int), survey.stratum, LEGEND.ids), hectares(mapped))
    for name in ("areas", "users", "producers"):
        for a, b in zip(getattr(ours, name), getattr(paper, name), strict=True):
            assert np.allclose([a.value, a.se], [b.value, b.se], equal_nan=True, atol=1e-9)
            assert np.isnan(a.value) or 0 <= a.low <= a.value <= a.high
    assert np.isclose(ours.overall.value, paper.overall.value) and np.isclose(ours.overall.se, paper.overall.se)
    assert np.isclose(sum(e.value for e in ours.areas), sum(hectares(mapped)))
    json.dumps(ours.page(), allow_nan=False)


def test_every_pixel_of_a_class_has_the_same_chance():
    _, mapped = land(1)
    mapped[:30] = CLASS_NODATA
    times = np.zeros(GRID.shape)
    for seed in range(200):
        survey = draw(mapped, GRID, LEGEND, (50, 50, 20), seed)
        assert not survey.duplicated(["row", "col"]).any() and (mapped[survey.row, survey.col] == survey.stratum).all()
        times[survey.row, survey.col] += 1
    assert not times[mapped == CLASS_NODATA].any()
    for id_, n in zip(LEGEND.ids, (50, 50, 20), strict=True):
        here = times[mapped == id_]
        chance = n / here.size
        assert np.isclose(here.mean(), 200 * chance)
        assert 0.8 < here.var() / (200 * chance * (1 - chance)) < 1.2  # binomial, as independent draws are


def test_a_draw_is_decided_by_its_seed_and_points_at_its_pixels():
    _, mapped = land(2)
    first, again = (draw(mapped, GRID, LEGEND, (9, 9, 9), 5) for _ in range(2))
    assert first.equals(again) and not first.equals(draw(mapped, GRID, LEGEND, (9, 9, 9), 6))
    assert first.crs.to_epsg() == 4326 and first.class_id.isna().all()
    assert np.allclose(first.groupby("stratum").weight_ha.sum().loc[list(LEGEND.ids)], hectares(mapped))
    moved = GeoBox((60, 80), Affine(10, 0, 500_800, 0, -10, 8_000_000), GRID.crs)
    assert (mapped_at(first, mapped, moved) == CLASS_NODATA).all()


def test_a_small_class_is_visited_whole():
    truth, mapped = land(3)
    mapped[mapped == 7] = 1
    mapped[0, :5] = 7
    survey = answered(draw(mapped, GRID, LEGEND, (20, 20, 20), 0), truth)
    assert (survey.stratum == 7).sum() == 5 and (survey.probability[survey.stratum == 7] == 1).all()
    assert estimate(survey, survey.stratum, hectares(mapped), LEGEND).units == (20, 20, 5)


def test_a_survey_of_another_map_by_simulation():
    truth, old = land(4)
    new = np.where(np.random.default_rng(0).random(GRID.shape) < 0.6, truth, old)
    new[:, :8] = CLASS_NODATA  # the new map has a gap
    on = new != CLASS_NODATA
    true = {"overall": (truth == new)[on].mean(), "area": (truth[on] == 7).sum() / 100}
    true |= {"users": (truth[new == 7] == 7).mean(), "producers": (new[on & (truth == 7)] == 7).mean()}
    said = []
    for seed in range(200):
        survey = answered(draw(old, GRID, LEGEND, (60, 60, 60), seed), truth)
        found = estimate(survey, mapped_at(survey, new, GRID), hectares(new), LEGEND)
        assert found.design.endswith("another map")
        said.append([found.overall, found.areas[2], found.users[2], found.producers[2]])
    for name, estimates in zip(true, zip(*said, strict=True), strict=True):
        values, errors = (np.array([getattr(e, key) for e in estimates]) for key in ("value", "se"))
        held = np.mean([e.low <= true[name] <= e.high for e in estimates])
        assert abs(values.mean() - true[name]) < 4 * values.std() / np.sqrt(200) + 0.01 * true[name], name
        assert np.isclose(np.sqrt((errors**2).mean()), values.std(), rtol=0.15), name
        assert 0.9 <= held <= 1, name


def test_the_usual_formula_is_wrong_for_another_map():
    truth, old = land(5)
    new = np.where(truth == 7, truth, old)
    survey = answered(draw(old, GRID, LEGEND, (30, 30, 100), 1), truth)
    at = mapped_at(survey, new, GRID)
    naive = area_adjusted(confusion(survey.class_id.astype(int), at, LEGEND.ids), hectares(new))
    found = estimate(survey, at, hectares(new), LEGEND)
    assert abs(naive.areas[2].value - found.areas[2].value) > 0.1


def test_missing_answers_are_like_their_stratum():
    truth, mapped = land(6)
    survey = answered(draw(mapped, GRID, LEGEND, (50, 50, 50), 2), truth)
    gone = survey.assign(class_id=survey.class_id.mask(survey.unit.isin([1, 60, 120])))
    found = estimate(gone, gone.stratum, hectares(mapped), LEGEND)
    whole = gone.dropna(subset="class_id")
    paper = area_adjusted(confusion(whole.class_id.astype(int), whole.stratum, LEGEND.ids), hectares(mapped))
    assert found.missing == 3 and sum(found.units) == 147
    assert np.allclose([e.value for e in found.areas], [e.value for e in paper.areas])


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        (lambda s: s.drop(columns="weight_ha"), "without weight_ha"),
        (lambda s: s.assign(stratum=s.stratum.where(s.unit > 3)), "without stratum"),
        (lambda s: s.iloc[1:], "Rows were added or removed"),
        (lambda s: s.iloc[:0], "anything in them"),
        (lambda s: s.assign(stratum_ha=s.stratum_ha.where(s.unit > 1, 5.0)), "Rows were added or removed"),
        (lambda s: s.assign(class_id=s.class_id.where(s.stratum != 7)), "without an answer"),
        (lambda s: s.assign(class_id=99), "classes 99, outside the legend"),
        (lambda s: s.assign(class_id=["maize"] * len(s)), "classes maize, outside the legend"),
        (lambda s: s.assign(class_id=4.5), "classes 4.5, outside the legend"),
    ],
)
def test_tables_that_are_no_survey(broken, told: str):
    truth, mapped = land(7)
    survey = broken(answered(draw(mapped, GRID, LEGEND, (20, 20, 20), 3), truth))
    with pytest.raises(SampleError, match=told):
        estimate(survey, survey.get("stratum"), hectares(mapped), LEGEND)


def test_answers_survive_a_file(tmp_path):
    truth, mapped = land(7)
    survey = answered(draw(mapped, GRID, LEGEND, (20, 20, 20), 3), truth)
    survey["class_id"] = survey.class_id.mask(survey.unit == 7)
    expected = estimate(survey, survey.stratum, hectares(mapped), LEGEND)
    for name in ("survey.gpkg", "survey.geojson", "survey.parquet"):
        path = tmp_path / name
        survey.to_parquet(path) if path.suffix == ".parquet" else survey.to_file(path)
        back = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
        found = estimate(back, mapped_at(back, mapped, GRID), hectares(mapped), LEGEND)
        assert found.page() == expected.page()


def test_a_class_that_nobody_visits_is_refused():
    _, mapped = land(7)
    with pytest.raises(SampleError, match="never visited"):
        draw(mapped, GRID, LEGEND, (20, 20, 0))
    mapped[mapped == 7] = 1
    assert set(draw(mapped, GRID, LEGEND, (20, 20, 0)).stratum) == {1, 4}
    rows = coverage(mapped, land(7)[0], GRID, LEGEND, (30, 30, 0), surveys=5)
    assert rows[2]["holds_users"] is None and rows[2]["true_ha"] > 0


def test_a_stratum_with_one_answer_and_a_map_of_other_land():
    truth, mapped = land(8)
    survey = answered(draw(mapped, GRID, LEGEND, (40, 40, 1), 3), truth)
    with pytest.raises(SampleError, match=r"\[1\] answers in strata \[7\]"):
        estimate(survey, survey.stratum, hectares(mapped), LEGEND)
    survey = answered(draw(mapped, GRID, LEGEND, (40, 40, 40), 3), truth)
    with pytest.raises(SampleError, match="same land"):
        estimate(survey, survey.stratum, [3 * ha for ha in hectares(mapped)], LEGEND)


@settings(max_examples=100, deadline=None)
@given(areas=st.lists(st.integers(0, 10_000), min_size=3, max_size=8), n=st.integers(1, 900), least=st.integers(2, 80))
def test_allocation(areas: list, n: int, least: int):
    if not sum(areas):
        return
    units = allocate(areas, n, least)
    assert all((u >= least) if a else (u == 0) for u, a in zip(units, areas, strict=True))
    assert sum(units) >= n and sum(units) <= max(n, least * np.count_nonzero(areas)) + len(areas)
    order = np.argsort(areas)
    assert (np.diff(np.array(units)[order]) >= 0).all()


def test_a_plan_keeps_its_word():
    truth, mapped = land(9)
    promised = plan(hectares(mapped), confusion(truth.ravel(), mapped.ravel(), LEGEND.ids), LEGEND, se_overall=0.03)
    values = []
    for seed in range(200):
        survey = answered(draw(mapped, GRID, LEGEND, promised.units, seed), truth)
        said = estimate(survey, survey.stratum, hectares(mapped), LEGEND)
        values.append([said.overall.value, *(e.value for e in said.areas)])
    assert np.allclose(np.std(values, axis=0), [promised.se_overall, *promised.se_ha], rtol=0.15)
    assert sample_size([1, 1], [0.5, 0.5], 0.01) == 2500
    with pytest.raises(SampleError, match="Plan of a survey"):
        plan([0, 0, 0], np.eye(3), LEGEND)


def test_coverage_is_counted_on_what_is_known():
    truth, mapped = land(10)
    truth[:5] = CLASS_NODATA
    rows = coverage(mapped, truth, GRID, LEGEND, (30, 30, 30), surveys=20)
    assert np.isclose(sum(row["true_ha"] for row in rows), (truth != CLASS_NODATA).sum() / 100)
    assert [row["class"] for row in rows] == list(LEGEND.names)
    assert json.dumps(rows) and all(0 <= row["holds"] <= 1 for row in rows)

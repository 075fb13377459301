"""Drift: what chance alone gives, seasons that have changed, reports that say the same twice, and bad input."""

import importlib.util
import json
from datetime import date
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import rasterio
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

import geocrop_papermill
from geocrop import drift
from geocrop.bundle import read_bundle
from geocrop.cli import main
from geocrop.ensemble import Ensemble
from geocrop.mapping import PRODUCT_BANDS
from geocrop.schema import FEATURE_ORDER_V1, Legend, ModelError, SampleError, Season

ROOT = Path(__file__).parents[1]
LEGEND = Legend.of([{"id": i, "name": n, "colour": "#888888"} for i, n in ((2, "maize"), (5, "cotton"), (3, "water"))])
SEASON = Season(2023)
DECILES = stats.norm.ppf(np.arange(0.1, 0.95, 0.1))


def season_rows(seed: int, *, farms: int = 60, moved: float = 0.0, crops: tuple[float, ...] = (0.5, 0.3, 0.2)):
    "Rows of three crops in all 51 features: farms of five fields of four pixels; `moved` is in spreads of a crop."
    world, rng = np.random.default_rng(7), np.random.default_rng(seed)
    looks = world.normal(size=(3, len(FEATURE_ORDER_V1)))
    farm, field = np.repeat(np.arange(farms), 20), np.repeat(np.arange(farms * 5), 4)
    crop = np.repeat(rng.choice(3, farms * 5, p=crops), 4)
    X = looks[crop] + 0.4 * rng.normal(size=(farms, looks.shape[1]))[farm] + moved
    X += 0.5 * rng.normal(size=(farms * 5, looks.shape[1]))[field] + 0.3 * rng.normal(size=(len(crop), looks.shape[1]))
    place = {"x": 1000.0 * (farm % 8) + 90 * (field % 5), "y": 1000.0 * (farm // 8)}
    rows = {"field_id": field, "class_id": np.array(LEGEND.ids)[crop], **place}
    return pd.DataFrame(rows | dict(zip(FEATURE_ORDER_V1, X.astype("float32").T, strict=True)))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    taught = season_rows(0)
    made = Ensemble(LEGEND, rounds=12, threads=1, name="three crops")
    made.fit(taught[list(FEATURE_ORDER_V1)], taught.class_id, taught.field_id, blocks=taught.field_id // 5)
    folder = tmp_path_factory.mktemp("drift") / "model"
    made.save(folder)
    return folder


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_drift", ROOT / "bench/drift.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- what a bundle remembers -----------------------------------------------------------------------------------------


def test_the_bundle_remembers_shares_exactly_and_confidence_of_held_out_fields(model: Path):
    taught, page = season_rows(0), read_bundle(model).page["training"]
    for name in FEATURE_ORDER_V1[:5]:
        known = page["reference"][name]
        assert known["reached"] == [round(float((taught[name] <= q).mean()), 6) for q in known["quantiles"]]
    told, reference = page["inner"]["confidence"], drift.Reference.of(read_bundle(model))
    assert len(told["quantiles"]) == 21 and sorted(told["quantiles"]) == told["quantiles"]
    assert reference.confusion is not None and reference.confidence_of is not None
    accuracy, expected = np.trace(reference.confusion), reference.confusion.sum(axis=1) @ reference.confidence_of
    assert expected == pytest.approx(accuracy, abs=0.1)  # it is calibrated
    assert told["quantiles"][0] <= expected <= told["quantiles"][-1]


def test_ties_fall_into_one_bin():
    steps = np.repeat([3.0, 4.0, 5.0], [50, 30, 20])
    known = drift.Known(
        np.quantile(steps, np.linspace(0, 1, 21)),
        np.array([(steps <= q).mean() for q in np.quantile(steps, np.linspace(0, 1, 21))]),
        0.0,
    )
    place, expected = drift._place(np.append(steps, np.nan), known)
    shares = np.bincount(place[:-1], minlength=len(expected)) / len(steps)
    np.testing.assert_allclose(shares, expected, atol=1e-12)
    assert place[-1] == len(expected) - 1  # missing values have a bin of their own


def test_an_older_bundle_is_refused_with_a_remedy(model: Path):
    bundle = read_bundle(model)
    del bundle.page["training"]["reference"][FEATURE_ORDER_V1[0]]["reached"]
    with pytest.raises(ModelError, match="Train it again"):
        drift.Reference.of(bundle)


# --- chance ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fields", "pixels", "between"), [(25, 12, 0.5), (80, 8, 0.7), (120, 4, 0.2)])
def test_without_change_one_in_twenty_exceeds_its_limit(fields: int, pixels: int, between: float):
    rng, field, over = np.random.default_rng(3), np.repeat(np.arange(fields), pixels), []
    for _ in range(400):
        values = np.sqrt(between) * rng.normal(size=fields)[field]
        values += np.sqrt(1 - between) * rng.normal(size=len(field))
        counts = drift.tally(np.digitize(values, DECILES), 10, field)
        found = drift.shift(np.full(10, 0.1), counts.sum(axis=0) / counts.sum(), 1e9, drift.effective_size(counts))
        over.append(found.psi > found.limit)
        assert (found.psi > found.limit) == (found.p < 0.05)
    assert 0.02 <= np.mean(over) <= 0.09  # 20 +- 4.4 of 400


def test_pixels_of_a_field_that_are_all_alike_count_once():
    rng, field = np.random.default_rng(1), np.repeat(np.arange(200), 9)
    place = rng.integers(0, 10, 200)[field]
    assert drift.effective_size(drift.tally(place, 10, field)).n == pytest.approx(200, rel=0.05)
    alone = drift.tally(rng.integers(0, 10, len(field)), 10, np.arange(len(field)))
    assert drift.effective_size(alone).n == pytest.approx(len(field), rel=0.05)


def test_the_index_is_the_textbooks_where_numbers_are_large():
    e, o = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    found = drift.shift(e, o, 1e9, drift.Size(1e9, 2, 1000))
    assert found.psi == pytest.approx(((o - e) * np.log(o / e)).sum(), rel=1e-6)


# --- seasons ---------------------------------------------------------------------------------------------------------


def test_a_season_like_the_other_raises_nothing(model: Path):
    page = drift.drift(model, season_rows(1), SEASON)
    assert (page["severity"], page["alarms"], page["kind"]) == ("none", [], "none")
    assert page["features"] == {"judged": 51, "waiting": 0, "drifted": 0}
    assert page["drawn"] == {"unit": "blocks of 1000 m", "number": 60}


def test_a_season_that_has_moved_is_seen_and_told_as_such(model: Path):
    page = drift.drift(model, season_rows(2, moved=1.5), SEASON)
    assert page["severity"] == "P1" and "features" in [alarm["kind"] for alarm in page["alarms"]]
    assert page["kind"].startswith("covariate")
    assert page["features"]["drifted"] > 40


def test_other_crops_that_look_as_they_did_are_told_as_such(model: Path):
    page = drift.drift(model, season_rows(3, crops=(0.1, 0.3, 0.6)), SEASON)
    assert [alarm["kind"] for alarm in page["alarms"]][-1] == "classes"
    assert page["kind"].startswith("label shift")
    np.testing.assert_allclose(page["answers"]["grown"], [0.1, 0.3, 0.6], atol=0.08)  # order of the legend


def test_an_early_season_is_judged_by_what_cannot_change_any_more(model: Path):
    flat = season_rows(4)  # behind the last image curves stay flat: everything but the early third is off
    later = [name for name in FEATURE_ORDER_V1 if "_early_" not in name]
    flat[later] += 3
    page = drift.drift(model, flat, SEASON, day=SEASON.day(date(2024, 1, 31)))
    assert page["features"] == {"judged": 10, "waiting": 41, "drifted": 0}
    assert (page["severity"], page["answers"], page["areas"]) == ("none", None, [])
    assert drift.drift(model, flat, SEASON)["severity"] == "P1"  # if it were over
    wrong = flat.assign(**{name: flat[name] + 2 for name in FEATURE_ORDER_V1 if "_early_" in name})
    assert drift.drift(model, wrong, SEASON, day=152)["features"]["drifted"] == 10
    assert drift.drift(model, wrong, SEASON, day=149)["features"]["judged"] == 0


@pytest.mark.parametrize(("wrong", "severity"), [(0.0, "P2"), (0.075, "P1"), (0.2, "P0")])
def test_labels_decide_between_p0_p1_and_p2(wrong: float, severity: str):
    matrix = np.eye(3) / 3
    reference = drift.Reference({}, 3000, LEGEND, matrix, None, None)
    field = np.arange(1200)
    y = np.array(LEGEND.ids)[field % 3]
    said = np.where((field // 3) % 40 < 40 * wrong, np.roll(y, 1), y)
    found = drift.score_drop(reference, y, said, field)
    assert found.severity == severity
    assert found.drop == pytest.approx(wrong, abs=0.005)
    assert found.low <= found.drop <= found.high
    assert found.noise == (wrong == 0)


def test_a_drop_in_few_fields_is_said_to_be_noise():
    reference = drift.Reference({}, 500, LEGEND, (np.eye(3) * 0.7 + 0.1) / 3, None, None)
    y = np.array(LEGEND.ids)[np.arange(24) % 3]
    found = drift.score_drop(reference, y, np.where(np.arange(24) % 12 < 4, np.roll(y, 1), y), np.arange(24))
    assert found.severity == "P0" and found.noise


@pytest.mark.parametrize("late", [False, True])
def test_what_ordinary_seasons_have_shown_is_no_alarm(model: Path, late: bool):
    ordinary = [drift.drift(model, season_rows(seed, moved=1.0), SEASON) for seed in (5, 6)]
    assert all(page["alarms"] for page in ordinary)
    page = drift.drift(model, season_rows(7, moved=2.0 if late else 0.6), SEASON, ordinary=ordinary)
    assert ("features" in [alarm["kind"] for alarm in page["alarms"]]) == late
    assert page["ordinary"] == [2023, 2023]
    other = {**ordinary[0], "bundle_sha256": "0" * 64}
    with pytest.raises(SampleError, match="report of bundle 000000000000"):
        drift.drift(model, season_rows(7), SEASON, ordinary=[other])


# --- maps ------------------------------------------------------------------------------------------------------------


def write_map(path: Path, bundle_sha256: str, shares: tuple[float, ...], sure: int, *, last: str = "20230529") -> Path:
    "A map of 600 m with the bands and tags of geocrop, patches of 50 m."
    rng = np.random.default_rng(int(last) + sure)
    patches = np.array(LEGEND.ids, "uint8")[rng.choice(3, (12, 12), p=shares)]
    outline = {"type": "Polygon", "coordinates": [[[31, -18], [31.1, -18], [31.1, -17.9], [31, -18]]]}
    told = {"MODEL": "three crops", "MODEL_SHA256": bundle_sha256, "FEATURES_SHA256": "1", "ITEMS_SHA256": "2"}
    told |= {"SEASON": "2022 2022-09-01 2023-05-31", "AREA": json.dumps(outline), "CLEAR_SCL": "4 5 6 7"}
    told |= {"ITEMS": f"S2A_36KTF_20220903_0_L2A S2B_36KTF_{last}_0_L2A", "MIN_CLEAR": "3", "DILATION_M": "0"}
    grid = {"width": 60, "height": 60, "crs": "EPSG:32736", "transform": rasterio.Affine(10, 0, 29e4, 0, -10, 803e4)}
    with rasterio.open(path, "w", driver="GTiff", count=5, dtype="uint8", nodata=255, **grid) as tif:
        tif.descriptions = tuple(PRODUCT_BANDS)
        tif.update_tags(**{f"GEOCROP_{key}": value for key, value in told.items()})
        tif.write(np.kron(patches, np.ones((5, 5), "uint8")), 1)
        for band, value in ((2, sure), (3, 20), (4, 12), (5, 1)):
            tif.write(np.full((60, 60), value, "uint8"), band)
    return path


def test_maps_of_one_model_are_compared_block_by_block(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    sha256 = read_bundle(model).sha256
    before = write_map(tmp_path / "before.tif", sha256, (0.5, 0.3, 0.2), 80)
    alike = write_map(tmp_path / "alike.tif", sha256, (0.5, 0.3, 0.2), 79)
    other = write_map(tmp_path / "other.tif", sha256, (0.1, 0.3, 0.6), 60)
    quiet, loud = (drift.map_drift(model, path, before, block_m=150) for path in (alike, other))
    assert (quiet["alarms"], quiet["kind"], quiet["drawn"]["number"], quiet["applicable"]) == ([], "none", 16, 1.0)
    assert [alarm["kind"] for alarm in loud["alarms"]] == ["classes", "confidence"]
    assert loud["kind"].startswith("covariate") and loud["season"] == 2022
    assert drift.prometheus(loud).count("geocrop_drift_class_share{") == 6
    wrong = {
        "found 1 blocks": [alike, "--against", before],
        "seen until 2023-01-31": [write_map(tmp_path / "early.tif", sha256, (0.5, 0.3, 0.2), 80, last="20230131")],
        "Two models differ": [write_map(tmp_path / "new.tif", "f" * 64, (0.5, 0.3, 0.2), 80), "--block-m", "150"],
        "a side of 0.0 m": [alike, "--block-m", "0"],
    }
    for told, words in wrong.items():
        against = [] if "--against" in words else ["--against", str(before)]
        assert main(["drift", "--model", str(model), "--map", *map(str, words), *against]) == 2, told
        said = capsys.readouterr().err
        assert told in said and said.count("\n") == 1, said


# --- simulated seasons: a small part of bench/drift.py --------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(bench: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    seen = bench.Seen("known", 105, 128)
    taught = bench.Seen("known", 106, 128).rows()
    made = Ensemble(bench.legend(ROOT), rounds=8, inner_folds=2, threads=1)
    made.fit(taught[list(FEATURE_ORDER_V1)], taught.class_id, taught.field_id)
    folder = tmp_path_factory.mktemp("simulated") / "model"
    made.save(folder)
    return bench, folder, seen


def test_in_january_an_offset_shows_and_the_missing_spring_does_not(simulated: tuple):
    bench, folder, seen = simulated
    early, wrong = (seen.rows(until=bench.JANUARY, offset=offset) for offset in (0, bench.OFFSET_DN))
    quiet, loud = (drift.drift(folder, rows, SEASON, day=bench.JANUARY) for rows in (early, wrong))
    assert quiet["features"] == {"judged": 10, "waiting": 41, "drifted": 0} and quiet["alarms"] == []
    assert loud["severity"] == "P1" and loud["features"]["drifted"] >= 3


def test_the_committed_rates_are_of_this_bench(bench: ModuleType):
    told = json.loads((ROOT / "bench/results/drift.json").read_text())
    assert [row["season"] for row in told["rates"]] == list(bench.VIEWS)
    rate = {row["season"]: float(row["alarm"].split()[0]) for row in told["rates"]}
    assert rate["offset +1000, all bands"] > rate["no change"]
    assert bench.wilson(0, 20) == "0.00 (0.00 to 0.16)"  # Newcombe 1998, table of the method


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_command_writes_the_same_report_twice(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    season_rows(2, moved=1.5).to_parquet(tmp_path / "rows.parquet")
    words = ["drift", "--model", str(model), "--table", str(tmp_path / "rows.parquet"), "--year", "2023"]
    assert main([*words, "--labels", "class_id", "--out", str(tmp_path / "a"), "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert main([*words, "--labels", "class_id", "--out", str(tmp_path / "b"), "--fail-on", "P1"]) == 1
    told = capsys.readouterr()
    assert "stopped by features" in told.err and "P1 features" in told.out
    for name in ("drift.json", "geocrop_drift.prom"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["drift.json", "geocrop_drift.prom"]
    text = (tmp_path / "a/geocrop_drift.prom").read_text()
    metrics = {family.name: family.samples for family in text_string_to_metric_families(text)}
    psi = {s.labels["feature"]: s.value for s in metrics["geocrop_drift_psi"]}
    assert psi == {row["feature"]: row["psi"] for row in page["shifts"]}
    alarms = {(s.labels["kind"], s.labels["severity"]): s.value for s in metrics["geocrop_drift_alarm"]}
    raised = {(a["kind"], a["severity"]) for a in page["alarms"]}
    assert alarms == {key: float(key in raised) for key in drift.KINDS}
    assert raised <= set(alarms)


def test_the_report_is_a_notebook_with_figures(model: Path, tmp_path: Path):
    drift.write(drift.drift(model, season_rows(2, moved=1.5), SEASON), tmp_path)
    report = tmp_path / "report.ipynb"
    geocrop_papermill.run(
        ROOT / "nbs/pipelines/06_drift.ipynb", report, {"page_path": str(tmp_path / "drift.json")}, cwd=ROOT
    )
    outputs = [out for cell in json.loads(report.read_text())["cells"] for out in cell.get("outputs", [])]
    assert sum("image/png" in out.get("data", {}) for out in outputs) == 3
    assert "severity:\n  P1" in "".join(outputs[0]["text"])
    with pytest.raises(SampleError, match="no report of drift"):
        drift.read_page(report)


def test_a_report_is_filed_once(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("GEOCROP_MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    season_rows(1).to_csv(tmp_path / "rows.csv", index=False)
    words = ["drift", "--model", str(model), "--table", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out")]
    assert [main([*words, "--track"]) for _ in range(2)] == [0, 0]
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("geocrop").experiment_id])
    assert run.data.metrics["features.drifted"] == 0 and run.data.tags["drift"] == "none"
    assert {f.path for f in client.list_artifacts(run.info.run_id)} == {"drift.json", "geocrop_drift.prom"}


def test_bad_input_is_said_in_one_line(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = season_rows(1)
    rows.to_parquet(tmp_path / "rows.parquet")
    rows.drop(columns="ndvi_auc").to_parquet(tmp_path / "lost.parquet")
    rows[rows.field_id < 4].to_parquet(tmp_path / "few.parquet")
    rows.assign(x=rows.x.astype(str)).to_parquet(tmp_path / "text.parquet")
    rows.assign(y=np.nan).to_parquet(tmp_path / "nowhere.parquet")
    (tmp_path / "empty.tif").touch()
    wrong = {
        "ndvi_auc": ["--table", tmp_path / "lost.parquet"],
        "4 fields": ["--table", tmp_path / "few.parquet"],
        "no column crop": ["--table", tmp_path / "rows.parquet", "--labels", "crop"],
        "no --out": ["--table", tmp_path / "rows.parquet", "--track"],
        "empty.tif": ["--map", tmp_path / "empty.tif", "--against", tmp_path / "empty.tif"],
        "'.txt'": ["--table", tmp_path / "rows.txt"],
        "x that is no number": ["--table", tmp_path / "text.parquet"],
        "not finite": ["--table", tmp_path / "nowhere.parquet"],
        "no report of drift": ["--table", tmp_path / "rows.parquet", "--ordinary", tmp_path / "rows.parquet"],
    }
    for told, words in wrong.items():
        assert main(["drift", "--model", str(model), *map(str, words)]) == 2, told
        said = capsys.readouterr().err
        assert told in said and said.count("\n") == 1, said
    assert main(["drift", "--model", str(tmp_path), "--table", str(tmp_path / "rows.parquet")]) == 2
    with pytest.raises(SampleError, match="no feature in"):
        drift.drift(model, rows.assign(**dict.fromkeys(FEATURE_ORDER_V1, np.nan)), SEASON)
    with pytest.raises(SampleError, match="until day 152"):
        drift.drift(model, rows, SEASON, day=152, y=rows.class_id.to_numpy())
    with pytest.raises(SampleError, match="Labels of now"):
        drift.score_drop(drift.Reference({}, 5, LEGEND, None, None, None), rows.class_id, rows.class_id, rows.field_id)

"What is answered at once: by the real application, with the real champion, on the embedded season."

import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from pipeline import made
from pyproj import Transformer
from starlette.testclient import TestClient

from geocrop.forest import Forest
from geocrop.schema import FEATURE_ORDER_V1
from geocrop.settings import Store
from geocrop.store import bucket
from serving.jobs import models
from serving.jobs.models import Model
from serving.worker import outlook
from serving.worker.answers import create_app


def until_ready(client: TestClient) -> None:
    end = time.monotonic() + 180
    while client.get("/v2/health/ready").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def client(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    "The application, with a champion."
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("answers")
        patch.setenv("GEOCROP_DATABASE_URL", f"sqlite:///{folder / 'service.db'}")
        from serving.jobs import database

        database.upgrade(database.connect(f"sqlite:///{folder / 'service.db'}"))
        with TestClient(create_app()) as client:
            assert client.get("/v2/health/live").json() == {"live": True}
            until_ready(client)
            yield client


@pytest.fixture(scope="module")
def rows(season: Path) -> np.ndarray:
    "Features of real pixels, some of them missing."
    import pandas as pd

    table = pd.read_parquet(made("features.parquet"))
    X = table[list(FEATURE_ORDER_V1)].to_numpy(np.float32)[:200]
    X[::7, 3] = np.nan
    X[11] = np.nan
    return X


def tensor(X: np.ndarray, **how: object) -> dict:
    data = [None if math.isnan(value) else float(value) for value in X.ravel()]
    return {"name": "features", "datatype": "FP32", "shape": list(X.shape), "data": data, **how}


def test_rows_are_classified_as_the_forest_does(client: TestClient, places: Store, model: Model, rows: np.ndarray):
    forest = Forest.load(Path(places.models, model.name, model.version))
    answer = client.post("/v2/models/geocrop/infer", json={"id": "7", "inputs": [tensor(rows)]})
    assert answer.status_code == 200
    page = answer.json()
    assert (page["model_name"], page["model_version"], page["id"]) == ("geocrop", "1", "7")
    classes, probability = page["outputs"]
    assert (classes["datatype"], classes["shape"]) == ("INT64", [200])
    np.testing.assert_array_equal(classes["data"], forest.predict(rows))
    assert classes["data"][11] == 255 and probability["data"][110:120] == [None] * 10
    found = np.array(probability["data"], np.float32).reshape(probability["shape"])
    np.testing.assert_array_equal(found, forest.predict_proba(rows))


def test_what_was_answered_is_told_to_prometheus(client: TestClient, rows: np.ndarray):
    before = client.get("/metrics").text
    assert client.post("/v2/models/geocrop/infer", json={"inputs": [tensor(rows)]}).status_code == 200
    now = client.get("/metrics").text

    def count(text: str, name: str) -> float:
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    assert count(now, "geocrop_inferred_rows_total") - count(before, "geocrop_inferred_rows_total") == len(rows)
    assert 'geocrop_inferred_rows_total{class="(none)"}' in now  # the row without any feature
    told = "geocrop_inferred_confidence_count"
    assert 0 < count(now, told) - count(before, told) < len(rows)
    assert 'geocrop_answers_model_info{model="zimbabwe_embedded"' in now
    assert 'geocrop_answer_seconds_count{method="POST",route="/v2/models/geocrop/infer",status="200"}' in now


def test_nested_rows_and_a_chosen_output(client: TestClient, rows: np.ndarray):
    nested = [[None if math.isnan(v) else float(v) for v in row] for row in rows[:2]]
    asked = {"inputs": [tensor(rows[:2], data=nested)], "outputs": [{"name": "class"}]}
    answer = client.post("/v2/models/geocrop/infer", json=asked)
    assert [one["name"] for one in answer.json()["outputs"]] == ["class"]


@pytest.mark.parametrize(
    "how",
    [
        {"shape": [1, 50]}, {"shape": [2, 51]}, {"shape": [0, 51], "data": []}, {"shape": [10_001, 51]},
        {"shape": "51"}, {"name": "pixels"}, {"datatype": "BYTES"},
        {"data": [True] * 51}, {"data": ["1"] * 51}, {"data": [1e300] * 51},
        {"data": {}},
    ],
)  # fmt: skip
def test_rows_that_are_none_are_refused(client: TestClient, rows: np.ndarray, how: dict):
    answer = client.post("/v2/models/geocrop/infer", json={"inputs": [tensor(rows[:1], **how)]})
    assert answer.status_code == 422 and answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"nonsense", b'{"inputs": []}', b'{"inputs": [1]}'])
def test_requests_that_are_none_are_refused(client: TestClient, body: bytes):
    assert client.post("/v2/models/geocrop/infer", content=body).status_code == 422


def test_the_model_says_what_it_takes_and_gives(client: TestClient, model: Model):
    page = client.get("/v2/models/geocrop").json()
    assert page["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 51]}]
    assert [(one["name"], one["shape"]) for one in page["outputs"]] == [("class", [-1]), ("probability", [-1, 10])]
    assert page["parameters"]["features"] == list(FEATURE_ORDER_V1) and page["parameters"]["sha256"] == model.sha256


def test_a_new_champion_answers_after_a_while(client: TestClient, places: Store, model: Model):
    where = bucket(places.models)
    new = models.put(where, made("model"), model.name, "2")
    models.point(where, new)
    try:
        end = time.monotonic() + 120
        while client.get("/v2/models/geocrop").json()["parameters"]["sha256"] != new.sha256:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        models.point(where, model)
    end = time.monotonic() + 120
    while client.get("/v2/models/geocrop").json()["parameters"]["sha256"] != model.sha256:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_quote_says_what_a_map_will_take(client: TestClient):
    asked = {"aoi": [31.05, -17.83, 1000.0], "year": 2022}
    end = time.monotonic() + 120
    while (answer := client.post("/quote", json=asked)).status_code == 503:  # until the first map has been timed
        assert time.monotonic() < end
        time.sleep(0.1)
    page = answer.json()
    assert page["hectares"] == pytest.approx(313, abs=1.5) and page["pixels"] == pytest.approx(40_000, rel=0.03)
    assert page["scenes"] == 97 and 10 < page["expected_clear_days"] < 97 and 0.001 < page["gigabytes"] < 0.2
    assert 0 < page["seconds"]["low"] < page["seconds"]["high"] < 60
    larger = client.post("/quote", json=asked | {"aoi": [31.05, -17.83, 2000.0]}).json()
    assert larger["seconds"]["low"] > page["seconds"]["low"]


def test_the_pace_is_that_of_the_latest_jobs():
    first = outlook.Pace(((1_000_000, 2.0),), outlook.UNSURE)
    low, high = first.seconds(1_000_000)
    assert (low, high) == (1.0, 6.0)
    known = outlook.Pace(tuple((1_000_000, s) for s in (2.0, 3.0)), outlook.SURE)
    assert known.seconds(1_000_000) == (pytest.approx(1.6), pytest.approx(3.9))
    assert known.seconds(50_000_000)[0] == pytest.approx(1.6 * 55 / 6)


def test_a_place_without_scenes_is_refused(client: TestClient):
    for path, asked in (("/quote", {"aoi": [20.0, -17.83, 500.0]}), ("/curve", {"lon": 20.0, "lat": -17.83})):
        answer = client.post(path, json={**asked, "year": 2022})
        assert answer.status_code == 422 and answer.json()["thing"]
    assert client.post("/curve", json={"lon": 200.0, "lat": 0.0, "year": 2022}).status_code == 422


def test_a_curve_has_the_clear_days_of_the_map(client: TestClient):
    "Of a dozen pixels, on the map that the pipeline made."
    with rasterio.open(made("map.tif")) as tif:
        back = Transformer.from_crs(tif.crs, 4326, always_xy=True)
        days = tif.read(4)
        for row, col in [(40, 40), (250, 260), (300, 111), (470, 33)]:
            lon, lat = back.transform(*tif.xy(row, col))
            page = client.post("/curve", json={"lon": lon, "lat": lat, "year": 2022}).json()
            assert sum(page["clear"]) == days[row, col]
            assert page["dates"] == sorted(set(page["dates"])) and len(page["ndvi"]) == len(page["dates"])
            clear = [v for v, sure in zip(page["ndvi"], page["clear"], strict=True) if sure]
            assert all(-1 <= v <= 1 for v in clear) and max(clear) - min(clear) > 0.05


def test_a_second_look_at_a_neighbour_searches_nothing(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(outlook, "FRESH_S", 1e9)  # so that no while ends between the two
    client.post("/curve", json={"lon": 31.05, "lat": -17.83, "year": 2022})
    searches = outlook._remembered.cache_info().misses
    assert client.post("/curve", json={"lon": 31.051, "lat": -17.831, "year": 2022}).status_code == 200
    assert outlook._remembered.cache_info().misses == searches

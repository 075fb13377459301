"What a worker says of the hectares of a map."

import json
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
from bundles import guessing
from odc.geo.geobox import GeoBox

from geocrop.mapping import MapModel
from geocrop.reference import draw
from geocrop.schema import AOI, StoreError
from geocrop.settings import legend
from geocrop.settings import season as asked
from serving.worker.maps import make

ROOT = Path(__file__).parents[2]
INSIDE = AOI(31.05, -17.83, 700)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> MapModel:
    return MapModel.load(guessing(tmp_path_factory.mktemp("bundle") / "model"))


@pytest.fixture
def survey(season: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    "Places drawn in all of the season's land, visited, and named in the settings."
    with rasterio.open(season / "truth/class.tif") as tif:
        truth, land = tif.read(1), GeoBox(tif.shape, tif.transform, tif.crs)
    classes = legend(ROOT)
    found = draw(truth, land, classes, [100] * len(classes.ids), seed=1)
    found["class_id"] = pd.array(truth[found.row, found.col], dtype="Int64")
    found.to_parquet(tmp_path / "survey.parquet")
    monkeypatch.setenv("GEOCROP_HOME", str(ROOT))
    monkeypatch.setenv("GEOCROP_LABELS_REFERENCE", str(tmp_path / "survey.parquet"))
    return tmp_path / "survey.parquet"


@pytest.fixture
def told(ready: MapModel, tmp_path: Path) -> Callable[[AOI], dict]:
    def said(area: AOI) -> dict:
        made = make(ready, area, asked(ROOT), tmp_path / "map.tif")
        page = json.loads((tmp_path / "map.stats.json").read_text())
        assert page["hectares_counted"] == made.product.page()["hectares_counted"]
        return page

    return said


def test_a_survey_of_all_the_land_gives_intervals_to_a_map_of_a_part(survey: Path, told: Callable[[AOI], dict]):
    page = told(INSIDE)
    found, counted = page["survey"], page["hectares_counted"]
    assert 40 < found["units"] < 200 and 0 <= found["overall"]["low"] < found["overall"]["high"] <= 1
    assert sum(row["ha"] for row in found["classes"]) == pytest.approx(sum(counted.values()), rel=1e-3)
    assert all(row["low"] <= row["ha"] <= row["high"] for row in found["classes"])
    wide = {row["class"]: row["high"] - row["low"] for row in found["classes"]}
    assert max(wide.values()) > 5  # hectares: a few dozen places


def test_where_hardly_anybody_was_a_count_stays_a_count(
    survey: Path, told: Callable[[AOI], dict], monkeypatch: pytest.MonkeyPatch
):
    assert "no reference survey of this land" in told(AOI(31.05, -17.83, 100))["survey"]["refused"]
    monkeypatch.delenv("GEOCROP_LABELS_REFERENCE")
    assert "no reference survey of this land" in told(INSIDE)["survey"]["refused"]


def test_a_survey_that_lost_a_part_of_its_sheets_is_refused_with_the_reason(survey: Path, told: Callable[[AOI], dict]):
    places = gpd.read_parquet(survey)
    places[places.unit % 2 == 0].to_parquet(survey)
    assert "Rows were added or removed" in told(INSIDE)["survey"]["refused"]


@pytest.mark.parametrize("content", [None, b"no parquet"])
def test_a_survey_that_cannot_be_read_is_said_before_the_work(
    survey: Path, told: Callable[[AOI], dict], tmp_path: Path, content: bytes | None
):
    survey.unlink() if content is None else survey.write_bytes(content)
    with pytest.raises(StoreError, match=r"survey\.parquet"):
        told(INSIDE)
    assert not (tmp_path / "map.tif").exists()

"""Wrong input stops early, with one error that names thing, found, expected and remedy, and leaves nothing behind."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from geocrop import cube, items, settings
from geocrop.schema import AOI, GeocropError, Season

ROOT = Path(__file__).parents[1]


def edit(path: Path, change: Callable[[dict], None]) -> None:
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def project(tmp_path: Path, season: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    "A project folder of its own over the embedded season."
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    for section, key in (("catalogue", "href"), ("labels", "fields"), ("labels", "truth"), ("labels", "reference")):
        monkeypatch.delenv(f"GEOCROP_{section}_{key}".upper(), raising=False)
    text = (ROOT / "settings.ini").read_text().replace("data/season", str(season))
    (folder / "settings.ini").write_text(text)
    monkeypatch.chdir(folder)
    return folder


def stage(name: str, folder: Path) -> subprocess.CompletedProcess:
    "Run a stage notebook as the pipeline does."
    command = [sys.executable, "-m", "geocrop_papermill", ROOT / f"nbs/pipelines/{name}.ipynb", f"reports/{name}.ipynb"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)


def left(folder: Path) -> list[str]:
    "What is seen in the outputs of a project; an unfinished map is hidden, to be gone on with."
    found = (p.relative_to(folder).as_posix() for p in folder.glob("results/**/*"))
    return sorted(name for name in found if "/." not in name)


def told(error: GeocropError) -> str:
    "The message, once it is known to have its four parts."
    assert all(str(part) for part in (error.thing, error.found, error.expected, error.remedy))
    assert "\n" not in str(error)
    return str(error)


# --- searching -------------------------------------------------------------------------------------------------------


def test_an_area_off_the_catalogue_is_told_the_catalogue_s_extent(project: Path):
    with pytest.raises(GeocropError) as caught:
        items.search(AOI(-17.83, 31.05, 2000), settings.season())
    assert "swapped" in told(caught.value) and "31.0" in str(caught.value.expected)


def test_a_year_without_items_is_told_the_years_there_are(project: Path):
    with pytest.raises(GeocropError) as caught:
        items.search(settings.area(), Season(2015))
    assert "Season 2015" in told(caught.value) and "2022-09" in str(caught.value.expected)


def test_a_catalogue_that_is_not_there_is_named(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", str(project / "nowhere/catalog.json"))
    with pytest.raises(GeocropError) as caught:
        items.search(settings.area(), settings.season())
    assert "nowhere/catalog.json" in told(caught.value)


def test_an_item_to_skip_that_does_not_exist_is_an_error(project: Path):
    with pytest.raises(GeocropError) as caught:
        items.search(settings.area(), settings.season(), skip=["S2A_36KTF_20990101_0_L2A"])
    assert "S2A_36KTF_20990101_0_L2A" in told(caught.value)


def test_an_item_without_a_band_stops_the_search_until_it_is_skipped(project: Path, season: Path, tmp_path: Path):
    copy = tmp_path / "catalogue"
    shutil.copytree(season, copy, ignore=shutil.ignore_patterns("*.tif"))
    poor = sorted(copy.glob("s2_l2a/*/*.json"))[0]
    content = yaml.safe_load(poor.read_text())
    del content["assets"]["B05"]
    import json

    poor.write_text(json.dumps(content))
    with pytest.raises(GeocropError) as caught:
        items.search(settings.area(), settings.season(), catalogue=str(copy / "catalog.json"), max_cloud_pct=100)
    assert (
        poor.stem in told(caught.value) and "no asset B05" in str(caught.value) and "items.skip" in caught.value.remedy
    )
    found = items.search(settings.area(), settings.season(), catalogue=str(copy / "catalog.json"), skip=[poor.stem])
    assert poor.stem not in {item.id for item in found}


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_an_error_and_not_a_cloud(project: Path, tmp_path: Path, keep: float):
    found = items.search(settings.area(), settings.season())
    whole = found.items[len(found) // 2]
    content = Path(whole.assets["B11"]).read_bytes()
    (tmp_path / "B11.tif").write_bytes(content[: int(len(content) * keep)])
    broken = dataclasses.replace(whole, assets=whole.assets | {"B11": str(tmp_path / "B11.tif")})
    with pytest.raises(GeocropError) as caught:
        cube.fetch(cube.load_cube([broken], cube.grid(found)))
    assert whole.id in told(caught.value) and "items.skip" in caught.value.remedy


def test_a_file_that_is_gone_names_its_item(project: Path, tmp_path: Path):
    found = items.search(settings.area(), settings.season())
    whole = found.items[0]
    gone = dataclasses.replace(whole, assets=whole.assets | {"SCL": str(tmp_path / "SCL.tif")})
    with pytest.raises(GeocropError) as caught:
        cube.fetch(cube.load_cube([gone], cube.grid(found)))
    assert whole.id in told(caught.value)


def test_a_grid_beside_all_scenes_is_an_error(project: Path):
    found = items.search(settings.area(), settings.season())
    far = cube.grid(found, AOI(31.5, -17.5, 500))
    with pytest.raises(GeocropError) as caught:
        cube.load_cube(found, far)
    assert "no scene over it" in told(caught.value)


# --- the pipeline ----------------------------------------------------------------------------------------------------


def test_a_stage_that_is_refused_prints_one_line_and_leaves_nothing(project: Path):
    edit(project / "params.yaml", lambda p: p["items"].update(max_clouds_pct=50))
    ran = stage("01_items", project)
    assert ran.returncode == 1 and left(project) == []
    assert "unknown key 'max_clouds_pct'" in ran.stderr and "Did you mean 'max_cloud_pct'" in ran.stderr
    assert len(ran.stderr.strip().splitlines()) <= 2, ran.stderr


def test_a_stage_stops_at_an_unknown_key_of_the_settings(project: Path):
    with (project / "settings.ini").open("a") as file:
        file.write("\n[catalog]\nhref = elsewhere\n")
    ran = stage("01_items", project)
    assert ran.returncode == 1 and left(project) == []
    assert "Did you mean 'catalogue'" in ran.stderr


def test_labels_outside_the_legend_stop_the_features(project: Path):
    assert stage("01_items", project).returncode == 0
    edit(project / "params.yaml", lambda p: p["base"].update(legend=p["base"]["legend"][:4]))
    ran = stage("02_features", project)
    assert ran.returncode == 1 and left(project) == ["results/items.json"]
    assert "outside the legend" in ran.stderr


def test_points_outside_the_imagery_stop_the_features(project: Path, tmp_path: Path):
    import geopandas as gpd

    assert stage("01_items", project).returncode == 0
    away = gpd.read_parquet(settings.settings("labels").fields).set_crs(4326, allow_override=True)
    away["geometry"] = away.translate(xoff=5.0)
    away.to_parquet(tmp_path / "away.parquet")
    text = (project / "settings.ini").read_text()
    (project / "settings.ini").write_text(
        text.replace(settings.settings("labels").fields, str(tmp_path / "away.parquet"))
    )
    ran = stage("02_features", project)
    assert ran.returncode == 1 and left(project) == ["results/items.json"]
    assert "outside the imagery" in ran.stderr


def test_a_truncated_scene_leaves_no_map(project: Path, season: Path, tmp_path: Path):
    import numpy as np

    from geocrop.ensemble import Ensemble
    from geocrop.mapping import map_area

    rng = np.random.default_rng(1)
    model = Ensemble(settings.legend(), rounds=2)
    model.fit(rng.normal(size=(60, 51)).astype("float32"), np.repeat([1, 2, 3], 20)).save(tmp_path / "model")
    found = items.search(settings.area(), settings.season())
    victim = found.items[3]
    (tmp_path / "B04.tif").write_bytes(Path(victim.assets["B04"]).read_bytes()[:9000])
    broken = dataclasses.replace(victim, assets=victim.assets | {"B04": str(tmp_path / "B04.tif")})
    listed = dataclasses.replace(found, items=(*found.items[:3], broken, *found.items[4:6]))
    with pytest.raises(GeocropError) as caught:
        map_area(tmp_path / "model", listed, cube.grid(listed), project / "results/map.tif")
    assert victim.id in told(caught.value)
    assert left(project) == []
    assert (project / "results/.map.tif.unfinished").is_dir()  # to go on with


# --- the command line ------------------------------------------------------------------------------------------------


def test_the_command_line_exits_with_2_and_one_line(project: Path):
    words = ["search", "--lon", "-17.83", "--lat", "31.05", "--radius-m", "500", "--year", "2022"]
    ran = subprocess.run([sys.executable, "-m", "geocrop.cli", *words], cwd=project, capture_output=True, text=True)
    assert ran.returncode == 2 and ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) == 1 and "swapped" in ran.stderr

"""The stages as the pipeline runs them, on a small season of their own."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
import stac_offline
import yaml

from geocrop import cog, items, settings
from geocrop.store import sha256

ROOT = Path(__file__).parents[1]
STAGES = ("01_items", "02_features", "03_train", "04_evaluate", "gate", "05_export")


def run(name: str, folder: Path) -> None:
    "Run a stage: a notebook, or the gate."
    notebook = ROOT / f"nbs/pipelines/{name}.ipynb"
    words = ["geocrop.cli", "gate", "--folder", "."]
    if name != "gate":
        words = ["geocrop_papermill", str(notebook), f"reports/{name}.ipynb"]
    ran = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True, timeout=400)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, season: Path) -> Path:
    "A project over the middle of the embedded season, with few rounds; all its stages have run."
    folder = tmp_path_factory.mktemp("project")
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    with rasterio.open(season / "truth/class.tif") as truth:
        window = rasterio.windows.Window(130, 130, 256, 256)
        from odc.geo.geobox import GeoBox

        part = GeoBox((256, 256), truth.window_transform(window), truth.crs)
    content["base"] |= {"name": "small", "area": part.extent.to_crs("EPSG:4326").json}
    content["train"] |= {"rounds": 12, "learning_rate": 0.3, "block_m": 400}
    content["evaluate"] |= {"folds": 3, "draws": 100, "origins": 1}
    content["gate"] = {"metric": "macro_f1", "at_least": 0.4, "max_ece": 0.3, "min_class_f1": 0.1, "min_fields": 12}
    content["export"] |= {"survey_se": 0.03, "survey_minimum": 15, "surveys": 40}
    content["features"] |= {"per_field": 5}
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    (folder / "settings.ini").write_text((ROOT / "settings.ini").read_text().replace("data/season", str(season)))
    for name in STAGES:
        run(name, folder)
    return folder


def test_every_accuracy_is_quoted_with_split_sample_size_and_interval(project: Path):
    found = json.loads((project / "reports/metrics.json").read_text())
    assert found["headline"]["split"] == "block"
    quoted = {k: v for k, v in found["headline"].items() if k not in ("split", "model")}
    assert quoted == found["by_block"]["ensemble"] and found["headline"]["model"] == "ensemble"
    for split in ("by_block", "by_field", "by_knndm", "by_random"):
        assert list(found[split]) == ["ensemble", "random forest", "coordinates only", "shuffled field labels"]
        for score in found[split].values():
            assert 0 <= score["low"] <= score["macro_f1"] <= score["high"] <= 1
            assert 0 <= score["overall_low"] <= score["overall"] <= score["overall_high"] <= 1
            assert score["pixels"] > score["fields"] > 50
    assert found["by_random"]["ensemble"]["macro_f1"] > found["by_block"]["ensemble"]["macro_f1"]
    chance = {split: found[split]["shuffled field labels"]["macro_f1"] for split in ("by_block", "by_random")}
    assert chance["by_block"] < 0.3 < chance["by_random"]  # what labels that mean nothing score: the leak


def test_the_hectares_are_estimated_and_hold_the_truth(project: Path, season: Path):
    from odc.geo.geobox import GeoBox

    page = json.loads((project / "results/map.stats.json").read_text())
    with rasterio.open(project / "results/map.tif") as tif:
        truth = cog.read_on(season / "truth/class.tif", GeoBox(tif.shape, tif.transform, tif.crs))
        seen = tif.read(1) != 255
    names = dict(zip(settings.legend(project).names, settings.legend(project).ids, strict=True))
    rows = [row for row in page["survey"]["classes"] if row["ha"] is not None]
    held = [row["low"] <= ((truth == names[row["class"]]) & seen).sum() / 100 <= row["high"] for row in rows]
    assert len(rows) > 5 and sum(held) >= len(held) - 2
    overall = page["survey"]["overall"]
    assert overall["low"] < overall["value"] < overall["high"] and 0.02 < overall["se"] < 0.04  # planned for 0.03


def test_a_gate_that_stops_leaves_nothing_to_go_on_with(project: Path):
    stopped = project.with_name("stopped")
    shutil.copytree(project, stopped)
    content = yaml.safe_load((stopped / "params.yaml").read_text())
    content["gate"]["at_least"] = 0.99
    (stopped / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(AssertionError, match="stopped by score"):
        run("gate", stopped)
    assert not (stopped / "reports/gate.json").exists()


def test_the_map_is_a_valid_cog_with_colours_and_a_stac_item(project: Path):
    path = project / "results/map.tif"
    cog.check(path)
    legend = settings.legend(project)
    with rasterio.open(path) as tif:
        assert tif.descriptions == ("class", "confidence", "margin", "clear_days", "applicable")
        assert (tif.dtypes, tif.nodata, tif.shape) == (("uint8",) * 5, 255, (256, 256))
        assert {c.id: tif.colormap(1)[c.id][:3] for c in legend.classes} == legend.rgb()
        classes, confidence, margin, days, applicable = tif.read()
        tags = tif.tags()
    seen = classes != 255
    assert seen.mean() > 0.95 and set(np.unique(classes[seen])) <= set(legend.ids)
    assert confidence[seen].max() <= 100 and (margin[seen] <= confidence[seen]).all() and (days[seen] >= 3).all()
    assert set(np.unique(applicable[seen])) == {0, 1} and applicable[seen].mean() > 0.7
    assert path.with_suffix(".qml").is_file()
    assert stac_offline.complaints(json.loads((project / "results/map.json").read_text())) == ""
    item = pystac.Item.from_file(project / "results/map.json")
    assert item.assets["map"].extra_fields["file:checksum"] == "1220" + sha256(path)
    assert item.properties["geocrop:model_sha256"] == tags["GEOCROP_MODEL_SHA256"]
    assert tags["GEOCROP_ITEMS_SHA256"] == items.load(project / "results/items.json").sha256


def test_the_map_is_nearly_the_truth(project: Path, season: Path):
    "The floor is far below what is reached, and far above what a wrong offset, order or grid would leave."
    from odc.geo.geobox import GeoBox

    with rasterio.open(project / "results/map.tif") as tif:
        classes, grid = tif.read(1), GeoBox(tif.shape, tif.transform, tif.crs)
    truth = cog.read_on(season / "truth/class.tif", grid)
    both = (truth != 255) & (classes != 255)
    assert (truth[both] == classes[both]).mean() > 0.55


def test_a_stage_run_again_leaves_the_same_bytes(project: Path):
    again = project.with_name("again")  # beside it: addresses in items.json are relative
    shutil.copytree(project, again)
    outputs = {
        "01_items": ["results/items.json", "reports/01_items.ipynb"],
        "02_features": ["results/features.parquet", "reports/02_features.ipynb"],
        "03_train": ["results/model", "reports/03_train.ipynb"],
        "04_evaluate": ["reports/metrics.json", "reports/classes.csv", "reports/04_evaluate.ipynb"],
        "gate": ["reports/gate.json"],
        "05_export": [
            "results/map.tif", "results/map.json", "results/map.stats.json", "reports/figures/map.png",
            "reports/05_export.ipynb",
        ],
    }  # fmt: skip
    for name, paths in outputs.items():
        for path in paths:
            shutil.rmtree(again / path) if (again / path).is_dir() else (again / path).unlink()
        run(name, again)
        for path in paths:
            assert sha256(again / path) == sha256(project / path), path


def test_a_project_without_a_truth_raster_gets_its_map(project: Path):
    untrue = project.with_name("untrue")
    shutil.copytree(project, untrue)
    lines = (untrue / "settings.ini").read_text().splitlines()
    (untrue / "settings.ini").write_text(
        "\n".join(line for line in lines if not line.startswith(("truth", "reference")))
    )
    (untrue / "results/map.tif").unlink()
    run("05_export", untrue)
    assert sha256(untrue / "results/map.tif") == sha256(project / "results/map.tif")


def test_the_run_is_filed_once_in_mlflow(project: Path):
    import os

    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    run("gate", project)
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments() if e.name == "geocrop"])
    assert len(runs) == 1
    found = json.loads((project / "reports/metrics.json").read_text())["headline"]
    assert abs(runs[0].data.metrics["headline.macro_f1"] - found["macro_f1"]) < 1e-6
    assert runs[0].data.params["train.rounds"] == "12"


def test_the_summary_tells_scores_and_paths(project: Path):
    command = [sys.executable, "-m", "geocrop.cli", "summary", "--folder", project, "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=project).stdout)
    assert told["project"] == "small" and told["scores"]["headline"]["split"] == "block"
    assert told["figures to look at"] == ["reports/figures/accuracy.png", "reports/figures/map.png"]
    assert all((project / path).exists() for key in ("map", "model", "executed notebooks") for path in told[key])

"""Tiles of a large map: their grids, and that the map is the same whoever dies on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import numpy as np
import pystac
import pytest
import rasterio
import rasterio.features
import shapely
import yaml
from hera.workflows import models
from loopback import free_ports
from odc.geo.geom import Geometry
from shapely.geometry import box, mapping, shape

from geocrop import scale
from geocrop.ensemble import Ensemble
from geocrop.schema import FEATURE_ORDER_V1, Legend, ProductError, SchemaError, Season
from geocrop.settings import area, legend

ROOT = Path(__file__).parents[1]
SEASON = Season(2022)


def disc(lon: float, lat: float, degrees: float) -> dict:
    return mapping(shapely.Point(lon, lat).buffer(degrees))


# --- grids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epsg", "west", "south", "name"),
    [  # from ESA's tiling grid: UTM_WKT is 20 to 60 m west of the square, 0 to 40 m north of it
        (32736, 200_000, 8_000_000, "36KTF"),
        (32735, 700_000, 8_200_000, "35LQC"),  # in K and L, middle in L
        (32736, 300_000, 7_300_000, "36KUU"),  # in J and K, middle in K
        (32631, 500_000, 4_800_000, "31TEJ"),
        (32632, 600_000, 5_300_000, "32UPU"),
        (32630, 400_000, 4_400_000, "30TVK"),
        (32719, 400_000, 6_200_000, "19HDC"),
        (32637, 200_000, 0, "37NBA"),
        (32701, 400_000, 6_000_000, "01HDA"),
    ],
)
def test_squares_have_the_names_of_esa_s_tiles(epsg: int, west: int, south: int, name: str):
    assert scale.square_name(epsg, west, south) == name


@pytest.mark.parametrize("tiles_of", [scale.utm_tiles, scale.deafrica_tiles], ids=["mgrs", "deafrica"])
def test_shares_of_tiles_cover_an_area_across_two_zones_once(tiles_of: Callable):
    whole = box(29.3, -18.9, 30.8, -15.7).difference(shapely.Point(30.0, -17.0).buffer(0.2))  # with a hole
    tiles = tiles_of(mapping(whole))
    shares = [shape(tile.area) for tile in tiles]
    assert len({tile.name for tile in tiles}) == len(tiles)
    assert all(share.is_valid for share in shares)
    together = shapely.union_all(shares)
    assert together.symmetric_difference(whole).area < 1e-5 * whole.area
    assert sum(share.area for share in shares) - together.area < 1e-5 * whole.area
    for tile in tiles:
        assert tile == scale.Tile.of(json.loads(json.dumps(tile.plain())))
        west, south, east, north = tile.geobox.boundingbox
        assert not any(edge % 10 for edge in (west, south, east, north))
        share = Geometry(tile.area, crs="EPSG:4326").to_crs(tile.geobox.crs).boundingbox
        assert max(abs(a - b) for a, b in zip(share, (west, south, east, north), strict=True)) <= 10.02


def seen(tiles: list[scale.Tile], places: np.ndarray) -> np.ndarray:
    "How many tiles give a class to the pixel that holds each place."
    counted = np.zeros(len(places), int)
    for tile in tiles:
        outline = Geometry(tile.area, crs="EPSG:4326").to_crs(tile.geobox.crs)
        inside = rasterio.features.geometry_mask(
            [outline.geom], tile.geobox.shape, tile.geobox.transform, invert=True, all_touched=False
        )
        ours = np.array([Geometry(shapely.Point(p), crs="EPSG:4326").to_crs(tile.geobox.crs).coords[0] for p in places])
        west, _, _, north = tile.geobox.boundingbox
        columns, rows = (ours[:, 0] - west) // 10, (north - ours[:, 1]) // 10
        for i, (column, row) in enumerate(zip(columns.astype(int), rows.astype(int), strict=True)):
            if 0 <= row < inside.shape[0] and 0 <= column < inside.shape[1]:
                counted[i] += inside[row, column]
    return counted


def test_squares_of_one_zone_share_no_pixel_and_leave_none_out():
    tiles = scale.utm_tiles(disc(31.0, -17.97, 0.06), 4_000)
    assert len(tiles) > 4
    places = shapely.get_coordinates(
        shapely.points(np.random.default_rng(0).uniform((30.96, -18.01), (31.04, -17.93), (300, 2)))
    )
    assert (seen(tiles, places) == 1).all()


def test_zones_meet_at_the_meridian_within_a_pixel():
    tiles = scale.utm_tiles(mapping(box(29.97, -18.2, 30.03, -17.6)))  # 66 km of meridian, a chord is 4 m off
    assert {tile.geobox.crs.epsg for tile in tiles} == {32735, 32736}
    edge = np.array([(30.0, lat) for lat in np.linspace(-18.15, -17.65, 60)])
    for metres in (-12, 12):  # beyond the widest pixel: exactly one zone shows it
        assert (seen(tiles, edge + np.array((metres / 106_000, 0))) == 1).all()


def test_tiles_of_deafrica_are_where_they_publish_them():
    tiles = {t.name: t for t in scale.deafrica_tiles(mapping(box(0.1, 0.1, 1.5, 0.5)))}
    assert set(tiles) == {"x181y077", "x182y077"}  # x = 0 and y = 0 are edges
    harare = scale.deafrica_tiles(disc(31.05, -17.83, 0.01))
    assert [t.name for t in harare] == [
        "x212y053"
    ]  # (2_995_8xx + 17_376_000) // 96_000, (-2_239_xxx + 7_392_000) // 96_000


@pytest.mark.parametrize("side_m", [0, 500, 30_000, 1_500, 200_000])
def test_a_square_that_does_not_nest_is_refused(side_m: int):
    with pytest.raises(SchemaError, match="whole kilometres"):
        scale.utm_tiles(area(ROOT), side_m)


# --- maps ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A model of the right shape; what it says does not matter here."
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, len(FEATURE_ORDER_V1))).astype(np.float32)
    classes = Legend(legend(ROOT).classes[:3])
    folder = tmp_path_factory.mktemp("model") / "bundle"
    Ensemble(classes, rounds=3).fit(X, rng.integers(1, 4, 400), groups=np.arange(400) // 4).save(folder)
    return folder


@pytest.fixture
def job(bundle: Path, season: Path, tmp_path: Path) -> scale.Job:
    return scale.job(
        bundle,
        SEASON,
        tmp_path / "map",
        catalogue=str(season / "catalog.json"),
        collections=(),
        max_cloud_pct=60,
        skip=(),
    )


@pytest.fixture(scope="module")
def tiles() -> list[scale.Tile]:
    "The embedded season in squares of 2 km."
    found = scale.utm_tiles(area(ROOT), 2_000)
    assert len(found) == 12
    return found


def hashes(job: scale.Job) -> dict[str, str]:
    return {path.stem: scale.sha256(path) for path in sorted(Path(job.out).glob("*/*.tif"))}


def maps(job: scale.Job) -> dict[str, int]:
    "The finished maps, and when each was written: one that is made again has another number."
    done = [path.with_suffix(".tif") for path in Path(job.out).glob("*/*.json") if path.stem == path.parent.name]
    return {path.stem: path.stat().st_mtime_ns for path in done}


def test_a_tile_is_kept_only_if_it_is_the_one_that_would_be_made(job: scale.Job, tiles: list[scale.Tile], bundle: Path):
    tile = tiles[0]
    assert scale.map_tile(job.plain(), tile.plain())["made"]
    assert not scale.map_tile(json.loads(json.dumps(job.plain())), tile.plain())["made"]
    assert not scale.map_tile(replace(job, window_px=64, threads=2).plain(), tile.plain())["made"]  # same bytes
    assert scale.map_tile(replace(job, min_clear=4).plain(), tile.plain())["made"]
    assert scale.map_tile(replace(job, max_cloud_pct=50, min_clear=4).plain(), tile.plain())["made"]  # other scenes
    moved = replace(tile, geobox=tile.geobox[:50, :50])
    assert scale.map_tile(replace(job, max_cloud_pct=50, min_clear=4).plain(), moved.plain())["made"]
    item = scale.map_path(job.out, tile.name).with_suffix(".json")
    item.write_text(item.read_text()[:-100])
    assert scale.map_tile(replace(job, max_cloud_pct=50, min_clear=4).plain(), moved.plain())["made"]


def test_a_worker_of_another_kind_says_so(job: scale.Job, tiles: list[scale.Tile]):
    for wrong in (replace(job, code_sha256="0" * 64), replace(job, model_sha256="0" * 64)):
        answer = scale.map_tile(wrong.plain(), tiles[0].plain())
        assert "of the worker" in answer["error"] and "same image" in answer["error"]
    assert not Path(job.out).exists()


def test_a_tile_that_fails_is_tried_again_and_reported_with_its_scenes(
    bundle: Path, season: Path, tmp_path: Path, tiles: list[scale.Tile]
):
    away = mapping(box(32.0, -17.9, 32.01, -17.89))  # no scene
    lost = replace(tiles[0], name="nowhere", area=away)
    job = scale.job(bundle, SEASON, tmp_path / "map", catalogue=str(season / "catalog.json"), max_cloud_pct=30, skip=())
    Path(job.out).mkdir()
    (Path(job.out) / tiles[1].name).touch()  # a file where the folder should be
    told = []
    done = scale.run([lost, *tiles[:2]], job, retries=1, progress=told.append)
    assert done.made == (tiles[0].name,)
    assert set(done.failed) == {"nowhere", tiles[1].name}
    assert "ItemsError" in done.failed["nowhere"]["error"] and done.failed["nowhere"]["items"] == []
    assert len(done.failed[tiles[1].name]["items"]) > 10
    last = told[-1]
    assert (last.tiles, last.failed, last.eta_s) == (3, 2, 0)
    assert last.km2 == pytest.approx(last.of_km2) and last.km2_per_h > 0
    assert [p.tiles for p in told] == [0, 1, 2, 3] and np.isnan(told[0].eta_s)


# --- whoever dies ----------------------------------------------------------------------------------------------------


class Cluster:
    "A scheduler and workers, each a process of its own."

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_ports(1)[0], folder
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen | None = None
        self.workers: list[subprocess.Popen] = []

    def _start(self, *words: str) -> subprocess.Popen:
        log = (self.folder / "cluster.log").open("a")
        command = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def start_scheduler(self) -> None:
        self.scheduler = self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard", "--no-show"
        )

    def start_worker(self) -> None:
        self.workers.append(
            self._start(
                "dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"
            )
        )

    def stop(self) -> None:
        for process in (self.scheduler, *self.workers):
            if process and process.poll() is None:
                kill(process)


@contextmanager
def driving(job: scale.Job, tiles: list[scale.Tile], address: str, folder: Path) -> Iterator[subprocess.Popen]:
    "A process that runs the tiles on a cluster and writes what became of them to run.json."
    (folder / "plan.json").write_text(json.dumps({"job": job.plain(), "tiles": [t.plain() for t in tiles]}))
    code = f"""if True:
        import dataclasses, json
        from geocrop.scale import Job, Tile, run
        plan = json.load(open({str(folder / "plan.json")!r}))
        done = run([Tile.of(t) for t in plan["tiles"]], Job.of(plan["job"]), {address!r}, wait_s=60)
        json.dump(dataclasses.asdict(done), open({str(folder / "run.json")!r}, "w"))
    """
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, start_new_session=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            kill(process)


def until(true: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def kill(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(tmp_path)
        stack.callback(made.stop)
        made.start_scheduler()
        made.start_worker()
        yield made


def test_workers_and_scheduler_may_die(job: scale.Job, tiles: list[scale.Tile], cluster: Cluster, tmp_path: Path):
    calm, some = replace(job, out=str(tmp_path / "calm")), tiles[:7]
    with driving(job, some, cluster.address, tmp_path) as driver:
        until(lambda: len(maps(job)) >= 1)
        kill(cluster.workers[0])
        cluster.start_worker()
        until(lambda: len(maps(job)) >= 3)
        assert cluster.scheduler
        kill(cluster.scheduler)
        time.sleep(2)  # a worker that lost its scheduler goes on with its tile
        before = maps(job)
        cluster.start_scheduler()
        cluster.start_worker()
        assert driver.wait(120) == 0
    assert 3 <= len(before) < len(some), "nothing was left to do"
    done = json.loads((tmp_path / "run.json").read_text())
    assert done["failed"] == {} and len(done["made"]) + len(done["kept"]) == len(some)
    again = [name for name, at in before.items() if maps(job)[name] != at]
    assert len(again) <= 1, "what was finished was made again"  # one that was being written when `before` was taken
    for tile in some:
        assert scale.map_tile(calm.plain(), tile.plain())["made"]
    assert hashes(job) == hashes(calm)


def test_a_driver_may_die_and_be_called_again(
    job: scale.Job, tiles: list[scale.Tile], cluster: Cluster, tmp_path: Path
):
    with driving(job, tiles[:4], cluster.address, tmp_path) as driver:
        until(lambda: len(maps(job)) >= 2)
        kill(driver)
    before = maps(job)
    done = scale.run(tiles[:4], job, cluster.address)
    assert set(done.made) | set(done.kept) == {t.name for t in tiles[:4]} and not done.failed
    assert len(done.kept) >= 2 and {n: maps(job)[n] for n in before} == before


def test_a_scheduler_that_never_answers_is_an_error(job: scale.Job, tiles: list[scale.Tile]):
    with pytest.raises(ProductError, match="no answer for 1 s"):
        scale.run(tiles, job, f"tcp://127.0.0.1:{free_ports(1)[0]}", wait_s=1)


# --- together --------------------------------------------------------------------------------------------------------


def test_a_mosaic_moves_with_its_folder_and_refuses_what_does_not_match(
    job: scale.Job, tiles: list[scale.Tile], tmp_path: Path
):
    for tile in tiles[:3]:
        scale.map_tile(job.plain(), tile.plain())
    virtual, _, collection = scale.mosaic(job.out)
    assert scale.mosaic(job.out)[0].read_bytes() == virtual.read_bytes()
    moved = tmp_path / "elsewhere"
    Path(job.out).rename(moved)
    read = pystac.Collection.from_file(moved / collection.name)
    pystac.validation.validate_dict(
        json.loads((moved / collection.name).read_text()), pystac.STACObjectType.COLLECTION, extensions=[]
    )
    found = {item.id: item for item in read.get_items()}
    assert set(found) == {tile.name for tile in tiles[:3]}
    for item in found.values():
        assert item.get_collection().id == read.id
        with (
            rasterio.open(moved / virtual.name) as whole,
            rasterio.open(item.assets["map"].get_absolute_href()) as part,
        ):
            window = rasterio.windows.from_bounds(*part.bounds, whole.transform)
            np.testing.assert_array_equal(whole.read(window=window), part.read())
            assert whole.colormap(1) == part.colormap(1) and whole.descriptions == part.descriptions
    assert (
        "/" + "work" not in (moved / virtual.name).read_text()
        and str(tmp_path) not in (moved / collection.name).read_text()
    )
    scale.map_tile(replace(job, out=str(moved), min_clear=5).plain(), tiles[3].plain())
    with pytest.raises(ProductError, match="GEOCROP_MIN_CLEAR 5"):
        scale.mosaic(moved)


def test_there_is_a_raster_for_each_crs(job: scale.Job, tiles: list[scale.Tile]):
    scale.map_tile(job.plain(), tiles[0].plain())
    other = scale.deafrica_tiles(tiles[0].area)[0]
    assert scale.map_tile(job.plain(), other.plain())["made"]
    names = [path.name for path in scale.mosaic(job.out)]
    assert names == ["map_6933.vrt", "map_32736.vrt", "collection.json"]
    with rasterio.open(Path(job.out) / "map_6933.vrt") as equal, rasterio.open(Path(job.out) / "map_32736.vrt") as utm:
        sizes = [np.count_nonzero(tif.read(1) != 255) for tif in (equal, utm)]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)  # the same ground


def test_nothing_finished_makes_no_mosaic(tmp_path: Path):
    with pytest.raises(ProductError, match="no finished tile"):
        scale.mosaic(tmp_path)


# --- cost ------------------------------------------------------------------------------------------------------------


def test_an_estimate_grows_with_tiles_and_pixels():
    sample = scale.Sample(pixels=1_000_000, scenes=50, core_s=12.0, wall_s=6.0, load_s=2.0, written=3_000_000)
    assert scale.estimate(sample, 1, 1_000_000) == pytest.approx((12 / 3600, 6 / 3600))
    core_h, eta_h = scale.estimate(sample, 60, 4_000_000_000, workers=10)
    assert core_h == pytest.approx((60 * 2 + 4000 * 10) / 3600) and eta_h == pytest.approx(core_h / 2 / 10)


def test_a_quote_counts_what_is_read_and_what_fits(job: scale.Job, tiles: list[scale.Tile], season: Path):
    far = replace(tiles[0], name="far", area=mapping(box(32.0, -17.9, 32.01, -17.89)))
    told = scale.quote([*tiles, far], job, sample=scale.Sample(1000, 50, 1.0, 1.0, 0.5, 2900))
    files = {p for p in season.glob("s2_l2a/*/*.tif") if p.stem in ("B02", "B04", "B05", "B08", "B11", "SCL")}
    assert 0 < told.read_bytes < len(tiles) * sum(p.stat().st_size for p in files)
    assert told.written_bytes == round(2.9 * 512 * 512) and told.pixels == 512 * 512
    assert (told.tiles, told.unseen) == (13, ("far",))
    assert told.fits and not replace(told, free_bytes=told.written_bytes).fits
    assert not Path(job.out).exists()


# --- manifests -------------------------------------------------------------------------------------------------------


def manifest(name: str) -> dict:
    return yaml.safe_load((ROOT / "k8s" / name).read_text())


def test_manifests_of_dask_are_what_kubernetes_knows():
    cluster = manifest("dask/cluster.yaml")
    assert (cluster["apiVersion"], cluster["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    parts = {name: cluster["spec"][name] for name in ("worker", "scheduler")}
    resources = [manifest("dask/network.yaml"), manifest("dask/storage.yaml")]
    resources += [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": part["spec"]}
        for name, part in parts.items()
    ]
    service = parts["scheduler"]["service"]
    resources.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "scheduler"}, "spec": service})
    for resource in resources:
        kubernetes_validate.validate(resource, "1.35", strict=True)
    worker, scheduler = (part["spec"]["containers"][0] for part in parts.values())
    assert worker["resources"]["limits"]["memory"] == "2Gi" and "1900MB" in worker["args"]
    assert service["ports"][0]["targetPort"] in {port["name"] for port in scheduler["ports"]}
    assert service["selector"]["dask.org/cluster-name"] == cluster["metadata"]["name"]
    assert {worker["image"], scheduler["image"]} <= {i["name"] for i in manifest("images/kustomization.yaml")["images"]}


def test_the_workflow_is_what_argo_knows():
    page = manifest("workflows/map-country.yaml")
    read = models.WorkflowTemplate.model_validate(page)
    assert lost(page, json.loads(read.model_dump_json(exclude_none=True, by_alias=True))) == []
    named = {template["name"] for template in page["spec"]["templates"]}
    assert {task["template"] for task in page["spec"]["templates"][0]["dag"]["tasks"]} <= named


def lost(given: Any, read: Any, at: str = "") -> list[str]:
    "Keys that a model does not know: it leaves them out."
    if isinstance(given, dict):
        return [f"{at}.{k}" for k in given if k not in read] + [
            e for k in given if k in read for e in lost(given[k], read[k], f"{at}.{k}")
        ]
    if isinstance(given, list):
        return [e for i, (a, b) in enumerate(zip(given, read, strict=True)) for e in lost(a, b, f"{at}[{i}]")]
    return [] if given == read else [at]


@pytest.mark.parametrize("pod", ["worker", "scheduler", "argo"])
def test_no_pod_runs_as_root_or_writes_to_its_image(pod: str):
    if pod == "argo":
        spec = manifest("workflows/map-country.yaml")["spec"]
        container = spec["templates"][1]["container"]
    else:
        spec = manifest("dask/cluster.yaml")["spec"][pod]["spec"]
        container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["runAsUser"] > 0
    assert not spec["automountServiceAccountToken"]
    limits = container["securityContext"]
    assert limits["readOnlyRootFilesystem"] and not limits["allowPrivilegeEscalation"]
    assert limits["capabilities"] == {"drop": ["ALL"]} and container["resources"]["limits"]["memory"]


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_plan_of_a_country_is_that_of_the_committed_measurements():
    made = subprocess.run([sys.executable, ROOT / "bench/country.py", "--page"], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert (ROOT / "docs/plan_a_country.md").read_text() == made.stdout

"""geocrop map on a terminal, in a pipe and for a program; wrong requests are refused before a catalogue is asked."""

import ast
import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bundles import guessing

from geocrop import cli
from geocrop.bundle import write_bundle
from geocrop.schema import AOI, FEATURE_ORDER_V1

ROOT = Path(__file__).parents[1]
DISC = {"--lon": 31.05, "--lat": -17.83, "--radius-m": 300, "--year": 2022}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    "A bundle that answers at random."
    return guessing(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture
def project(tmp_path: Path, season: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    "A project over the embedded season, with a model."
    folder = tmp_path / "project"
    shutil.copytree(model, folder / "results/model")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "settings.ini").write_text((ROOT / "settings.ini").read_text().replace("data/season", str(season)))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def no_catalogue(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    "What is refused here is refused before a catalogue is opened: there is none."
    monkeypatch.setenv("GEOCROP_CATALOGUE_HREF", str(project / "nowhere/catalog.json"))


def words(command: str, changes: dict[str, object] | None = None, *more: str) -> list[str]:
    options = {**DISC, **({"--out": "map.tif"} if command == "map" else {}), **(changes or {})}
    return [command, *(str(word) for pair in options.items() if pair[1] is not None for word in pair), *more]


def refused(capsys: pytest.CaptureFixture[str], line: list[str]) -> str:
    "The one line that a refused command prints; it leaves nothing behind."
    before = sorted(Path.cwd().rglob("*"))
    status = cli.main(line)
    told = capsys.readouterr()
    assert (status, told.out) == (2, "") and len(told.err.strip().splitlines()) == 1, told
    assert sorted(Path.cwd().rglob("*")) == before
    return told.err


# --- a map -----------------------------------------------------------------------------------------------------------


def test_a_person_reads_lines_and_a_program_json(project: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(words("map", None, "--picture")) == 0
    told = capsys.readouterr()
    assert told.err == ""  # no bar where nobody looks
    for says in ("hectares, counted in pixels:", "mean confidence:", "without class:", "warnings:", "map.png"):
        assert says in told.out, told.out
    assert cli.main(words("map", None, "--json")) == 0
    page = json.loads(capsys.readouterr().out)
    stats = json.loads(Path(page["statistics"]).read_text())
    assert {key: page[key] for key in stats if key != "survey"} == {k: v for k, v in stats.items() if k != "survey"}
    assert "picture" not in page and Path(page["item"]).is_file() and page["scenes"] > 50


def test_why_land_has_no_class_is_said(project: Path, capsys: pytest.CaptureFixture[str]):
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["features"]["min_clear"] = 62
    Path("params.yaml").write_text(yaml.safe_dump(content))
    assert cli.main(words("map")) == 0
    told = capsys.readouterr().out
    assert "%: fewer than 62 clear days" in told and "has no class" in told[told.index("warnings:") :]


def test_a_bar_is_drawn_on_a_terminal(project: Path):
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))  # nothing is drawn where there is no room
    ran = subprocess.Popen([sys.executable, "-m", "geocrop.cli", *words("map")], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    drawn = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody is at the other end any more
        while part := os.read(ours, 4096):
            drawn += part
    told = ran.communicate(timeout=120)[0]
    os.close(ours)
    assert ran.returncode == 0 and b"map:" in drawn and b"px/s" in drawn and b"mean confidence" in told


def test_a_polygon_of_a_file_is_mapped_to_its_edge(project: Path, capsys: pytest.CaptureFixture[str]):
    ring = [[31.045, -17.835], [31.055, -17.835], [31.055, -17.825], [31.045, -17.825], [31.045, -17.835]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    for content in (
        shape,
        {"type": "Feature", "properties": {}, "geometry": shape},
        {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": shape}]},
    ):
        Path("farm.geojson").write_text(json.dumps(content))
        line = words("map", dict.fromkeys(("--lon", "--lat", "--radius-m")), "--polygon", "farm.geojson", "--json")
        assert cli.main(line) == 0
        page = json.loads(capsys.readouterr().out)
        total = sum(page["hectares_counted"].values()) + page["hectares_without_class"]
        assert abs(total - 117.6) < 1.5  # a hundredth of a degree: 1.1132 km x cos(17.83 deg) by 1.107 km


def test_today_is_asked_in_one_place_and_is_in_no_output(project: Path, monkeypatch: pytest.MonkeyPatch):
    asking = {"now", "utcnow", "today"}
    places = {
        (path.stem, node.attr)
        for path in (ROOT / "geocrop").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr in asking
        and isinstance(node.value, ast.Name | ast.Attribute)
        and (node.value.id if isinstance(node.value, ast.Name) else node.value.attr) in ("dt", "datetime", "date")
    }
    assert places == {("settings", "now")}
    seen = []
    for day in ("2023-06-01", "2031-12-24"):
        monkeypatch.setenv("GEOCROP_TODAY", day)
        assert cli.main(words("map", None, "--picture")) == 0
        seen.append({p.name: p.read_bytes() for p in project.glob("map*")})
    assert seen[0] == seen[1] and len(seen[0]) == 6


# --- what cannot be had ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["map", "search"])
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"--radius-m": 0}, "expected a positive number of metres"),
        ({"--radius-m": -5}, "expected a positive number of metres"),
        ({"--radius-m": "nan"}, "expected a positive number of metres"),
        ({"--radius-m": "inf"}, "expected a positive number of metres"),
        ({"--radius-m": 50_001}, "expected 50 km or less"),
        ({"--lat": 95}, "expected degrees between -90 and 90"),
        ({"--lon": None}, "found --lat, --radius-m; expected --lon, --lat and --radius-m, or --polygon"),
        ({"--lon": None, "--lat": None, "--radius-m": None}, "found none"),
        ({"--polygon": "farm.geojson"}, "found --lon, --lat, --radius-m, --polygon"),
        ({"--year": 2999}, "found a season that has not begun"),
        ({"--year": 0}, "Season 0"),
    ],
)
def test_a_request_is_refused_before_the_search(
    no_catalogue: None, command: str, changes: dict[str, object], says: str, capsys: pytest.CaptureFixture[str]
):
    assert says in refused(capsys, words(command, changes))


def test_the_limit_is_a_parameter_and_holds_for_polygons(no_catalogue: None, capsys: pytest.CaptureFixture[str]):
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["export"]["max_radius_m"] = 250
    Path("params.yaml").write_text(yaml.safe_dump(content))
    assert "found 0.3 km; expected 0.25 km or less" in refused(capsys, words("map"))
    Path("farm.geojson").write_text(json.dumps(AOI(31.05, -17.83, 300).polygon()))
    none = dict.fromkeys(("--lon", "--lat", "--radius-m"))
    assert "found 0.3 km" in refused(capsys, words("map", none, "--polygon", "farm.geojson"))


def test_the_limit_is_for_one_map_and_not_for_tiles(no_catalogue: None, capsys: pytest.CaptureFixture[str]):
    line = words("map", {"--radius-m": 90_000}, "--grid", "mgrs", "--list-tiles")
    assert cli.main(line) == 0 and len(json.loads(capsys.readouterr().out)) > 3


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "[]",
        '{"type": "Point", "coordinates": [31, -17]}',
        '{"type": "FeatureCollection", "features": []}',
        '{"type": "Polygon", "coordinates": [[[31, -17], [31.1, -17], [31, -17.1]]]}',
        '{"type": "Polygon", "coordinates": [[[31, -17], 5, [31, -17.1], [31, -17]]]}',
        '{"type": "Polygon", "coordinates": [[[310, 8020], [311, 8020], [311, 8021], [310, 8020]]]}',
        None,
    ],
)
def test_a_polygon_that_is_none(no_catalogue: None, content: str | None, capsys: pytest.CaptureFixture[str]):
    if content is not None:
        Path("farm.geojson").write_text(content)
    none = dict.fromkeys(("--lon", "--lat", "--radius-m"))
    refused(capsys, words("map", none, "--polygon", "farm.geojson"))


def test_a_season_that_goes_on_is_refused_unless_a_part_is_wanted(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for day, says in (
        ("2022-08-31", "has not begun"),
        ("2022-09-01", "has not ended"),
        ("2023-05-31", "has not ended"),
    ):
        monkeypatch.setenv("GEOCROP_TODAY", day)
        assert says in refused(capsys, words("map"))
    assert cli.main(words("search")) == 0  # what is there so far may be looked at
    assert cli.main(words("map", None, "--partial")) == 0
    monkeypatch.setenv("GEOCROP_TODAY", "2023-06-01")
    assert cli.main(words("map")) == 0
    capsys.readouterr()
    monkeypatch.setenv("GEOCROP_TODAY", "yesterday")
    assert "GEOCROP_TODAY=yesterday" in refused(capsys, words("map"))


def test_swapped_coordinates_are_named_by_the_catalogue(project: Path, capsys: pytest.CaptureFixture[str]):
    told = refused(capsys, words("map", {"--lon": -17.83, "--lat": 31.05}))
    assert "Longitude and latitude are swapped: lon 31.050, lat -17.830 is there" in told


def test_swapped_coordinates_are_named_by_the_real_boundary(
    no_catalogue: None, shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    boundary = shared_data / "zimbabwe/zimbabwe_ne50m.geojson"
    if not boundary.is_file():
        pytest.skip(f"no boundary: found no {boundary}")
    monkeypatch.setenv("GEOCROP_COUNTRY_BOUNDARY", str(boundary))
    for lon, lat in ((31.05, -17.83), (28.58, -20.15), (32.67, -18.97)):  # Harare, Bulawayo, Mutare
        told = refused(capsys, words("map", {"--lon": lat, "--lat": lon}))
        assert f"swapped: ask for lon {lon:g}, lat {lat:g}" in told
        assert "nowhere/catalog.json" in refused(capsys, words("map", {"--lon": lon, "--lat": lat}))
    for lon, lat in ((28.32, -15.39), (3.3, 43.6)):  # Lusaka; Herault: outside both ways, and for the catalogue to say
        assert "nowhere/catalog.json" in refused(capsys, words("map", {"--lon": lon, "--lat": lat}))


def test_holes_and_islands_of_a_boundary(no_catalogue: None, capsys: pytest.CaptureFixture[str]):
    def ring(west: float, south: float, side: float) -> list[list[float]]:
        return [[west, south], [west + side, south], [west + side, south + side], [west, south + side], [west, south]]

    parts = [[ring(30, -19, 3), ring(31, -18, 0.5)], [ring(40, -10, 1)]]
    Path("land.geojson").write_text(json.dumps({"type": "MultiPolygon", "coordinates": parts}))
    with Path("settings.ini").open("a") as file:
        file.write("[country]\nboundary = land.geojson\n")
    for lon, lat, swapped in ((32.0, -18.5, True), (31.2, -17.8, False), (40.5, -9.5, True), (36.0, -9.5, False)):
        told = refused(capsys, words("map", {"--lon": lat, "--lat": lon}))
        assert ("swapped" in told) == swapped, told
    Path("land.geojson").unlink()
    assert "Outline land.geojson" in refused(capsys, words("map"))


def test_a_bundle_of_another_feature_order_is_refused_before_the_search(
    no_catalogue: None, capsys: pytest.CaptureFixture[str]
):
    write_bundle("other", {"features": [*FEATURE_ORDER_V1[:9], *reversed(FEATURE_ORDER_V1[9:])]}, {})
    told = refused(capsys, words("map", {"--model": "other"}))
    assert "51 features, another order from number 9 on" in told and "never reorder" in told


@pytest.fixture
def read_only(project: Path) -> Iterator[Path]:
    "A folder that may be read and not written; root is for the time of the test somebody else."
    folder = project / "published"
    folder.mkdir()
    folder.chmod(0o555)
    me = os.geteuid()
    if me == 0:
        for place in (project, *project.parents):
            if place.stat().st_mode & 0o005 != 0o005:
                place.chmod(place.stat().st_mode | 0o055)
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(me)
        folder.chmod(0o755)


def test_a_read_only_output_is_refused_before_the_search(
    read_only: Path, no_catalogue: None, capsys: pytest.CaptureFixture[str]
):
    told = refused(capsys, words("map", {"--out": "published/new/map.tif"}))
    assert "Output published/new/map.tif" in told and "permission denied" in told


@pytest.mark.parametrize(
    ("out", "says"),
    [("params.yaml/map.tif", "not a directory"), ("map.png", "suffix '.png'"), ("folder.tif", "a folder"), ("m", "''")],
)
def test_an_output_that_cannot_be_is_refused_before_the_search(
    no_catalogue: None, out: str, says: str, capsys: pytest.CaptureFixture[str]
):
    Path("folder.tif").mkdir()
    assert says in refused(capsys, words("map", {"--out": out}))


def test_threads_that_are_none(project: Path, capsys: pytest.CaptureFixture[str]):
    for threads in (0, -1):
        assert "1 or more" in refused(capsys, words("map", {"--threads": threads}))

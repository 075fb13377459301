"""What a country takes: measure one window here, and write the page that plans from it.

.venv/bin/python bench/country.py --json bench/results/country.json        # a minute
.venv/bin/python bench/country.py --page > docs/plan_a_country.md
"""

import argparse
import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median

from archive import EPSG, Archive, make
from odc.geo.geom import Geometry
from rounds import machine

from geocrop.scale import Sample, Tile, estimate, job, measure
from geocrop.schema import Season

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "bench/results/country.json"
DATES, SIDE_PX = 50, 1024

KM2 = 390_757  # Zimbabwe, land and water (Encyclopaedia Britannica; CIA World Factbook: 390,757)
GRID_SHARE = 1.11  # pixels of the tiles' grids to pixels of the country: nbs/42_scale, 4.26 billion to 3.84
TILES = 66  # MGRS squares of Zimbabwe in both zones: nbs/42_scale
REAL_BYTES = 5.6  # bytes a date and pixel of 10 m in real COGs, six assets, overviews included: profiles/herault_2018
VCPU_USD_H = 0.05  # assumption: rented, on demand, 2 GB and a core
KWH_USD, CORE_W = 0.12, 15  # assumption: own machine, electricity only
LINE_MB_S = 100  # assumption: what a site with a good line reads from the archive, megabytes a second
RAW_BYTES = 12.5  # five bands, uint8, and room for what is made of them: 2.5 times as much (geocrop.cog.ROOM)


def measured(folder: Path, bundle: Path, rounds: int) -> dict:
    "The median window of some rounds, with the memory that the process took at most."
    archive: Archive = make(folder, SIDE_PX, DATES)
    items = archive.items(DATES)
    outline = Geometry(items.area, crs="EPSG:4326")
    whole = archive.geobox
    tile = Tile("window", whole, outline.json)
    task = job(bundle, Season(2022), folder / "map", catalogue="made up", collections=(), max_cloud_pct=100, skip=())
    samples = sorted((measure(task, tile, items) for _ in range(rounds)), key=lambda sample: sample.core_s)
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024
    return {
        "machine": machine("numpy", "numba", "distributed"),
        "epsg": EPSG,
        "dates": DATES,
        "window_px": SIDE_PX,
        "bundle": json.loads((bundle / "bundle.json").read_text())["name"],
        "sample": asdict(samples[len(samples) // 2]),
        "core_s": [sample.core_s for sample in samples],
        "median_core_s": median(sample.core_s for sample in samples),
        "peak_bytes": peak,
        "archive_bytes_px_date": archive.stored_bytes(DATES) / DATES / SIDE_PX**2,
    }


def page(found: dict) -> str:
    "docs/plan_a_country.md."
    sample = Sample(**found["sample"])
    land_px = KM2 * 10_000
    pixels = round(land_px * GRID_SHARE)
    core_h, _ = estimate(sample, TILES, pixels)
    per_px = (sample.core_s - sample.load_s) / sample.pixels * 1e6
    low, high = (found["dates"] * land_px * b / 1e12 for b in (found["archive_bytes_px_date"], REAL_BYTES))
    written = pixels * sample.written / sample.pixels / 1e9
    tile_gb = RAW_BYTES * 1e8 / 1e9
    line_h = high * 1e6 / LINE_MB_S / 3600
    reading = json.loads((ROOT / "bench/results/io.json").read_text())["memory"]
    memory = (found["peak_bytes"] + (max(reading.values()) - min(reading.values())) * 1e6) / 1e9
    dates, made_up, load = found["dates"], found["archive_bytes_px_date"], f"{sample.load_s:.1f}"
    millions, billions = f"{land_px / 1e9:.2f} billion px", f"{pixels / 1e9:.2f} billion px"
    own, rented = core_h * CORE_W / 1000 * KWH_USD, core_h * VCPU_USD_H

    def took(cores: int) -> float:  # Graham 1969, doi:10.1137/0117039: whatever the order of the tiles, no longer
        return core_h / cores + (1 - 1 / cores) * 1e8 * per_px / 3600e6

    rows = [
        f"| {who} | {took(cores):,.1f} h | {max(took(cores), line_h * far):,.1f} h | {cost} |"
        for who, cores, far, cost in (
            ("this machine, 2 cores", 2, True, f"{own:.2f} USD"),
            ("a workstation of 16 cores", 16, True, f"{own:.2f} USD"),
            ("32 rented cores beside the archive", 32, False, f"{rented:.2f} USD"),
            ("64 rented cores beside the archive", 64, False, f"{rented:.2f} USD"),
        )
    ]
    return f"""# Planning a country: Zimbabwe, one season

*Written by `bench/country.py --page` from `bench/results`; a test compares them. For another country, model or
machine, `geocrop map --grid mgrs ... --quote` counts the scenes and bytes and measures a window there.*

Zimbabwe has {KM2:,} km2, which are {millions} of 10 m. It lies in the UTM zones 35 and 36, and its map is
{TILES} tiles: MGRS squares of 100 km, each in the zone of its own scenes, cut at the border and at 30 degrees
east. Their grids hold {billions}, because a grid is a rectangle and the border is not.

## Measured

One window of {found["window_px"]} x {found["window_px"]} px with {dates} dates, from COGs in the page cache to the
compressed product, one thread; {found["machine"].split(";")[0]}.

| what | value |
|---|---|
| processor time | {per_px:.1f} core-microseconds a pixel |
| loading the model, once a tile | {load} core-seconds |
| product | {sample.written / sample.pixels:.1f} bytes a pixel (five bands, overviews) |
| memory of the process at its peak | {found["peak_bytes"] / 1e6:.0f} MB |
| more for a large tile (`bench/io.py`) | {max(reading.values()) - min(reading.values()):.0f} MB |
| COGs of the benchmark | {made_up:.1f} bytes a pixel and date |
| real COGs, Herault 2018, with overviews | {REAL_BYTES} bytes a pixel and date |

## What the season takes

| | how it comes about | |
|---|---|---|
| to read | {dates} dates x {millions} x {made_up:.1f} to {REAL_BYTES} bytes | {low:.1f} to {high:.1f} TB |
| to compute | {billions} x {per_px:.1f} us + {TILES} x {load} s | {core_h:.1f} core-hours |
| memory of a worker | one tile at a time, one thread | {memory:.1f} GB; the limit is 2 GB |
| the map | {billions} x {sample.written / sample.pixels:.1f} bytes | {written:.0f} GB |
| beside it, while it is made | {RAW_BYTES} bytes x 100 million px | {tile_gb:.1f} GB a worker |

| where | computing | with the line | cost |
|---|---|---|---|
{chr(10).join(rows)}

## Assumptions, by name

- **{dates} dates.** Two satellites pass every 5 days: 55 times in nine months, less where one is missing. Where
  orbits overlap there are twice as many, and decoding and features (not inference) take twice as long there.
- **Only a square's own scenes are read** (`scale.tile_items`). All scenes that touch a square would be a fifth
  more, and along 30 degrees east some of the other zone as well.
- **Bytes** are of one made-up archive and of one small real one. Cloudy scenes compress better, and of tiles in
  which nothing is clear only the scene classes are read.
- **The model** is the bundle `{found["bundle"]}`, 3 x 100 rounds at most; measure others with `--bundle`.
- **Rented** cores cost {VCPU_USD_H} USD an hour with 2 GB, on demand; interruptible ones cost less, and tiles do not
  mind being interrupted. Storage and requests are not in it. Reading is free in the region of the archive
  (DE Africa: af-south-1). Elsewhere the line decides: {LINE_MB_S} MB/s are {line_h:.0f} h for {high:.1f} TB.
- **Own** machines cost electricity only: {CORE_W} W a core and {KWH_USD} USD a kWh.
- **Workers scale** as long as the archive and the shared disk answer; tiles share nothing else. The last tile is
  finished by one worker alone, which is in the hours above as one whole square more than the work divided by the
  cores. With more workers than half the tiles, take smaller squares.

## How to go about it

1. `geocrop map --polygon zimbabwe.geojson --grid mgrs --year 2022 --out zimbabwe_2022 --quote`
2. The same without `--quote`: on this machine with `--workers 2`, on a cluster with `--scheduler tcp://...`. Stop
   it, lose machines, start it again: finished tiles stay finished.
3. `--mosaic` writes a virtual raster for each zone and the STAC collection. On Digital Earth Africa's grid
   (`--grid deafrica`) it is one raster for the country, at the price of warping every scene.

A Dask scheduler runs whatever it is sent, and Dask's processes send each other pickles. Keep it on a private
network (`k8s/dask/network.yaml`), or behind TLS with certificates of your own (`tls://`, and
`distributed.comm.tls` in Dask's configuration). Nothing that geocrop stores is a pickle.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=RESULT)
    parser.add_argument("--page", action="store_true", help="print the page of what was measured before")
    parser.add_argument("--bundle", type=Path, default=ROOT / "results/model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "geocrop-bench")
    args = parser.parse_args()
    if args.page:
        print(page(json.loads(args.json.read_text())), end="")
    else:
        args.json.write_text(json.dumps(measured(args.folder, args.bundle, args.rounds), indent=1) + "\n")


if __name__ == "__main__":
    main()

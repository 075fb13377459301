"""How often drift is seen where there is none, and missed where there is: simulated seasons with known changes.

.venv/bin/python bench/drift.py [--seeds 10] [--size 256] [--json bench/results/drift.json]

A model learns from four landscapes under the rain of the embedded season, without cotton. It is asked about others:
under the same rain, under that of other years, and changed in known ways. What has been simulated is kept in the temp
folder, so that a run that was stopped goes on.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from geocrop import canopy
from geocrop.canopy import Surface
from geocrop.drift import drift
from geocrop.ensemble import Ensemble
from geocrop.kernels import features_v1
from geocrop.landscape import CENTRE, CLASS_ID, SEED, Landscape, make_landscape, onset_day, rainfall, survey
from geocrop.samples import fold_units, sample_pixels
from geocrop.schema import FEATURE_BANDS, FEATURE_ORDER_V1, Season
from geocrop.settings import legend
from geocrop.simulate import look
from geocrop.sky import TRACKS, timetable
from geocrop.store import publish

ROOT = Path(__file__).parents[1]
CACHE = Path(tempfile.gettempdir()) / "geocrop-bench-drift-2"
SEASON = Season(2022)
TAUGHT, ORDINARY, FIRST = range(96, 100), range(100, 104), 104  # seeds: of the model, of known years, of the rates
NEW_CROP = CLASS_ID["cotton"]  # the model has never seen it
JANUARY = 152  # day on which the season is cut off: 31 January
BLOCK_M = 800.0  # side of the blocks of land, as for the embedded season's model
LATE_DAYS, RAIN_SHARE, VIGOUR_SHARE = 30, 0.4, 0.5  # of a late and of a dry season
OFFSET_DN = 1000  # what an archive adds to digital numbers, or has taken off


# --- seasons ---------------------------------------------------------------------------------------------------------


def under(land: Landscape, rain: np.ndarray, onset: int) -> Landscape:
    "The same land under other rain: planting moves with its onset; irrigated tobacco does not wait for rain."
    units = land.units.copy()
    waits = (units.kind == "field") & ~units.irrigated
    units.loc[waits, "planting_day"] = np.clip(units.planting_day[waits] + onset - land.onset, 0, 180)
    return replace(land, units=units, rain=rain, onset=onset)


def known_rain(land: Landscape) -> Landscape:
    "Under the rain of the embedded season, from which the model learns."
    rain = rainfall(Season(2022), SEED)[: len(land.rain)]
    return under(land, np.pad(rain, (0, len(land.rain) - len(rain))), onset_day(rain))


def late(land: Landscape) -> Landscape:
    "The same rain, a month later."
    land = known_rain(land)
    return under(land, np.concatenate([np.zeros(LATE_DAYS, "float32"), land.rain[:-LATE_DAYS]]), land.onset + LATE_DAYS)


def drought(land: Landscape) -> Landscape:
    "Two fifths of the rain, and half the leaves wherever nobody irrigates."
    land = known_rain(land)
    units = land.units.copy()
    rainfed = ~units.irrigated & (units.class_id <= CLASS_ID["natural_vegetation"])
    units.loc[rainfed, "vigour"] = np.maximum(units.vigour[rainfed] * VIGOUR_SHARE, 0.08)
    return replace(land, units=units, rain=land.rain * np.float32(RAIN_SHARE))


WEATHER: dict[str, Callable[[Landscape], Landscape]] = {
    "known": known_rain, "another year": lambda land: land, "late": late, "drought": drought,
}  # fmt: skip


class Seen:
    "Surveyed pixels of a simulated season, as the satellites of one orbit saw them."

    def __init__(self, weather: str, seed: int, size: int):
        if not hasattr(canopy.canopy_table, "cache_info"):
            canopy.canopy_table = cache(canopy.canopy_table)  # three seconds, always the same
        land = WEATHER[weather](make_landscape(size, seed=seed, year=2021 + seed % 3))
        surface, passes = Surface(land, seed), timetable(land.season, *CENTRE, TRACKS[:1])
        self.pixels = sample_pixels(survey(land, seed), land.geobox, per_field=12, seed=seed)
        rows, cols = self.pixels.row.to_numpy(), self.pixels.col.to_numpy()
        self.days = np.array([one.day for one in passes])
        self.dn = np.zeros((len(passes), len(FEATURE_BANDS), 1, len(rows)), "uint16")
        self.scl = np.zeros((len(passes), 1, len(rows)), "uint8")
        for t, one in enumerate(passes):
            seen = look(surface, one, seed).dn
            for b, band in enumerate(FEATURE_BANDS):
                coarse = int(seen[band].shape != land.geobox.shape)
                self.dn[t, b, 0] = seen[band][rows >> coarse, cols >> coarse]
            self.scl[t, 0] = seen["SCL"][rows >> 1, cols >> 1]

    def rows(self, until: int | None = None, offset: int = 0, bands: Sequence[str] = FEATURE_BANDS) -> pd.DataFrame:
        "Pixels with their features: of a season that stops early, with digital numbers that are off in some bands."
        dn = self.dn.astype("int32")
        wrong = [FEATURE_BANDS.index(band) for band in bands]
        dn[:, wrong] = np.where(dn[:, wrong] > 0, np.clip(dn[:, wrong] + offset, 1, 20000), 0)
        there = self.days <= (self.days.max() if until is None else until)
        X = features_v1(self.days[there], dn[there].astype("uint16"), self.scl[there])[:, 0].T
        return pd.concat([self.pixels, pd.DataFrame(X, columns=list(FEATURE_ORDER_V1))], axis=1)


VIEWS: dict[str, tuple[str, dict]] = {  # name -> weather, and what is seen of it
    "no change": ("known", {}),
    "no change, until January": ("known", {"until": JANUARY}),
    "new crop": ("known", {}),
    "offset +1000, all bands": ("known", {"offset": OFFSET_DN}),
    "offset -1000, all bands": ("known", {"offset": -OFFSET_DN}),
    "offset +1000, B08": ("known", {"offset": OFFSET_DN, "bands": ("B08",)}),
    "offset +1000, B11": ("known", {"offset": OFFSET_DN, "bands": ("B11",)}),
    "offset +1000, all, until January": ("known", {"until": JANUARY, "offset": OFFSET_DN}),
    "another year's rain": ("another year", {}),
    "another year's rain, until January": ("another year", {"until": JANUARY}),
    "onset a month late": ("late", {}),
    "onset a month late, until January": ("late", {"until": JANUARY}),
    "drought": ("drought", {}),
    "drought, until January": ("drought", {"until": JANUARY}),
}


def tables(seed: int, size: int, only: Collection[str] = tuple(WEATHER)) -> dict[str, pd.DataFrame]:
    "The views of a landscape under some weathers; cotton is there as the new crop only."
    found = {}
    for weather in only:
        views = {name: view for name, (of, view) in VIEWS.items() if of == weather}
        files = {name: CACHE / f"{size}_{seed}_{list(VIEWS).index(name)}.parquet" for name in views}
        if not all(file.exists() for file in files.values()):
            seen = Seen(weather, seed, size)
            for name, file in files.items():
                with publish(file) as draft:
                    seen.rows(**views[name]).to_parquet(draft)
        for name, file in files.items():
            table = pd.read_parquet(file)
            found[name] = table if name == "new crop" else table[table.class_id != NEW_CROP].reset_index(drop=True)
    return found


# --- rates -----------------------------------------------------------------------------------------------------------


def model(folder: Path, size: int, rounds: int) -> Path:
    "A model of the known rain that has never seen the new crop."
    parts = [tables(seed, size, ("known",))["no change"] for seed in TAUGHT]
    for number, part in enumerate(parts):
        part["field_id"] += 10_000_000 * number
        part["x"] += 100_000 * number  # scenes lie on one another
    table = pd.concat(parts, ignore_index=True)
    made = Ensemble(legend(ROOT), rounds=rounds, learning_rate=0.15, threads=1, name="without cotton")
    blocks = fold_units(table, "block", block_m=BLOCK_M)
    made.fit(table[list(FEATURE_ORDER_V1)], table.class_id, table.field_id, blocks=blocks).save(folder)
    return folder


def wilson(hits: int, n: int) -> str:
    "A share with its 95 % interval (Wilson 1927)."
    z2 = 1.96**2
    middle, half = (hits + z2 / 2) / (n + z2), 1.96 / (n + z2) * np.sqrt(hits * (n - hits) / n + z2 / 4)
    return f"{hits / n:.2f} ({max(0.0, middle - half):.2f} to {min(1.0, middle + half):.2f})"


def row_of(name: str, pages: Sequence[dict], told: Sequence[dict]) -> dict:
    "How often somebody is called, by what, and how often if some ordinary years are known."
    kinds = [{alarm["kind"] for alarm in page["alarms"]} for page in pages]
    row = {"season": name, "n": len(pages), "alarm": wilson(sum(map(bool, kinds)), len(pages))}
    row["alarm, ordinary years known"] = wilson(sum(bool(page["alarms"]) for page in told), len(told))
    row |= {f"by {kind}": sum(kind in raised for raised in kinds) for kind in ("features", "classes", "confidence")}
    row["features drifted"] = round(
        float(np.mean([p["features"]["drifted"] / p["features"]["judged"] for p in pages])), 2
    )
    answered = [page["answers"] for page in pages if page["answers"]]
    for key in ("moved", "confidence"):
        row[key] = round(float(np.mean([a[key] for a in answered])), 2) if answered else None
    row["covariate shift"] = sum(page["kind"].startswith("covariate") for page in pages) if answered else None
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="landscapes, each under four kinds of weather")
    parser.add_argument("--size", type=int, default=256, help="side of a scene, pixels of 10 m")
    parser.add_argument("--rounds", type=int, default=60, help="boosting rounds of the model")
    parser.add_argument("--json", type=Path, help="where the table goes")
    args = parser.parse_args()
    folder = CACHE / f"model_{args.size}_{args.rounds}"
    if not (folder / "bundle.json").exists():
        model(folder, args.size, args.rounds)

    def page(name: str, table: pd.DataFrame, ordinary: Sequence[dict] = ()) -> dict:
        return drift(folder, table, SEASON, day=VIEWS[name][1].get("until"), block_m=BLOCK_M, ordinary=ordinary)

    year = "another year's rain"
    known = [page(year, tables(seed, args.size, ("another year",))[year]) for seed in ORDINARY]
    found: dict[str, list[dict]] = {name: [] for name in VIEWS}
    told: dict[str, list[dict]] = {name: [] for name in VIEWS}
    for seed in range(FIRST, FIRST + args.seeds):
        for name, table in tables(seed, args.size).items():
            found[name].append(page(name, table))
            told[name].append(page(name, table, known))
        print(f"seed {seed}", file=sys.stderr, flush=True)
    rows = [row_of(name, found[name], told[name]) for name in VIEWS]
    print(pd.DataFrame(rows).to_string(index=False))
    if args.json:
        about = {"seeds": [FIRST, FIRST + args.seeds - 1], "size_px": args.size, "rounds": args.rounds}
        with publish(args.json) as draft:
            draft.write_text(json.dumps({**about, "rates": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

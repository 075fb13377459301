"""A made-up archive as DE Africa keeps it: a season of COGs with inner tiles of 1024 px, and its item list.

B02 B04 B08   N x N px of 10 m, uint16       B05 B11   N/2 x N/2 px of 20 m, uint16       SCL   20 m, uint8
deflate, predictor 2 (uint16), nodata 0, overviews
"""

import datetime as dt
import os
import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import rasterio
import tifffile
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.transform import Affine
from scipy.ndimage import gaussian_filter, zoom
from scipy.stats import beta
from season import CANOPY, CLOUD, CLOUDY, SOIL, cover, fields

from geocrop.items import Item, ItemList
from geocrop.schema import CLEAR_SCL, FEATURE_BANDS, Season
from geocrop.store import publish

EPSG = 32736
WEST, NORTH = 300_000, 8_100_000  # upper left corner of MGRS tiles of zone 36: multiples of 10 m and of 20 m
TILE_PX = 1024  # inner tiles of Element 84's and DE Africa's Sentinel-2 COGs
SEASON = Season(2022)
GSD_M = {"B02": 10, "B04": 10, "B05": 20, "B08": 10, "B11": 20, "SCL": 20}
TEXTURE = 0.018  # of the reflectance, between neighbours: deflate then makes 1.6 of 1, as on real scenes of farm land


@dataclass(frozen=True, slots=True)
class Sky:
    "How clouds lie over the scenes."

    name: str
    patch_px: int  # Size of a patch: standard deviation of the filter that makes them
    speckle: float  # Share of SCL's pixels that are of another class than their neighbours


STRICT = Sky("", 96, 0.03)  # no tile without a clear pixel: everything has to be decoded
PATCHES = Sky("_patches", 400, 0.0)  # fronts and lines of showers: some tiles show nothing but cloud


@dataclass(frozen=True, slots=True)
class Archive:
    "Where the files are, and what lies in them."

    folder: Path
    side_px: int  # Of the 10 m bands

    @property
    def geobox(self) -> GeoBox:
        "The grid of 10 m."
        return GeoBox((self.side_px, self.side_px), transform(10), f"EPSG:{EPSG}")

    def path(self, date: int, asset: str) -> Path:
        return self.folder / f"{date:02d}" / f"{asset}.tif"

    def items(
        self,
        n_dates: int,
        root: str = "",  # Address to put in front of the files' names; none: the folder
    ) -> ItemList:
        "The season as geocrop knows it."
        outline = self.geobox.geographic_extent.json
        found = []
        for date in range(n_dates):
            day = SEASON.first + dt.timedelta(days=2 + 270 * date // n_dates)
            files = {a: self.path(date, a) for a in GSD_M}
            found.append(
                Item(
                    id=f"S2B_36KTF_{day:%Y%m%d}_0_L2A",
                    datetime=f"{day}T07:56:31.000Z",
                    epsg=EPSG,
                    tile="36KTF",
                    platform="sentinel-2b",
                    baseline="05.09",
                    sequence=0,
                    cloud_pct=40.0,
                    offset_dn=0,
                    geometry=outline,
                    assets={
                        a: f"{root}/{p.relative_to(self.folder).as_posix()}" if root else str(p)
                        for a, p in files.items()
                    },
                )
            )
        return ItemList(SEASON, outline, tuple(found))

    def hidden(self, n_dates: int) -> float:
        "Share of the tiles of 10 m that show nothing clear."
        side = min(TILE_PX, self.side_px) // 2  # on SCL's pixels
        clear = []
        for date in range(n_dates):
            scl = np.isin(tifffile.imread(self.path(date, "SCL"), key=0), CLEAR_SCL)
            clear.append(scl.reshape(len(scl) // side, side, -1, side).any((1, 3)))
        return 1 - float(np.mean(clear))

    def raw_bytes(self, n_dates: int) -> int:
        "Of all pixels, decoded, each band on its own grid."
        sizes = {asset: (1 if asset == "SCL" else 2) * (self.side_px * 10 // gsd) ** 2 for asset, gsd in GSD_M.items()}
        return n_dates * sum(sizes.values())

    def stored_bytes(self, n_dates: int) -> int:
        "Of the tiles of full resolution, as they lie in the files."
        total = 0
        for date, asset in product(range(n_dates), GSD_M):
            with tifffile.TiffFile(self.path(date, asset)) as tif:
                total += sum(tif.pages[0].databytecounts)
        return total


def transform(gsd_m: int) -> Affine:
    return Affine(gsd_m, 0, WEST, 0, -gsd_m, NORTH)


def halved(band: NDArray) -> NDArray[np.float32]:
    "Mean of two by two pixels."
    return band.reshape(band.shape[0] // 2, 2, -1, 2).mean((1, 3), dtype=np.float32)


def scene(
    share: NDArray[np.float32],  # Green cover, shape (y, x)
    cloud: NDArray[np.float32],  # Thickness, 0-1
    wedge: NDArray[np.bool_],  # Not seen: the edge of the swath
    seed: int,
    speckled: float,  # Share of SCL's pixels
) -> dict[str, NDArray]:
    "Digital numbers of the bands and scene classes of one date, each on its own grid."
    rng = np.random.default_rng(seed)
    found = {}
    for b, name in enumerate(FEATURE_BANDS):
        ground = SOIL[b] + (CANOPY[b] - SOIL[b]) * share
        seen = ground + (CLOUD[b] - ground) * cloud
        seen = seen.astype(np.float32) * (1 + TEXTURE * rng.standard_normal(share.shape, np.float32))
        if GSD_M[name] == 20:
            seen = halved(seen)
        dn = np.clip(np.rint(seen * 1e4), 1, 20_000).astype(np.uint16)
        dn[wedge[:: GSD_M[name] // 10, :: GSD_M[name] // 10]] = 0
        found[name] = dn
    share, cloud = halved(share), halved(cloud)
    scl = np.where(cloud > 0.6, 9, np.where(cloud > 0.2, 8, np.where(share > 0.3, 4, 5))).astype(np.uint8)
    speckle = rng.random(scl.shape) < speckled
    scl[speckle] = rng.choice(np.array([2, 4, 5, 7], np.uint8), speckle.sum())
    scl[wedge[::2, ::2]] = 0
    return found | {"SCL": scl}


def write(path: Path, band: NDArray, gsd_m: int) -> None:
    "One COG; made whole or not at all."
    with (
        publish(path) as draft,
        rasterio.open(
            draft,
            "w",
            driver="COG",
            width=band.shape[1],
            height=band.shape[0],
            count=1,
            dtype=band.dtype,
            crs=f"EPSG:{EPSG}",
            transform=transform(gsd_m),
            nodata=0,
            compress="DEFLATE",
            predictor="YES" if band.dtype == np.uint16 else "NO",
            blocksize=TILE_PX,
            overview_resampling="nearest",
        ) as tif,
    ):
        tif.write(band, 1)


def make(folder: Path, side_px: int, n_dates: int, sky: Sky = STRICT) -> Archive:
    "The archive, made where it is not there yet."
    archive = Archive(folder / f"{side_px}px{sky.name}", side_px)
    missing = [date for date in range(n_dates) if not all(archive.path(date, asset).exists() for asset in GSD_M)]
    if not missing:
        return archive
    rng = np.random.default_rng(36)
    field = fields(side_px, rng)
    days = np.linspace(2, 272, 50).astype(np.int64)
    green = cover(field, np.resize(days, max(n_dates, 50)), rng)
    shares = rng.permutation(beta.ppf((np.arange(50) + 0.5) / 50, *CLOUDY))
    row, column = np.ogrid[:side_px, :side_px]

    def one(date: int) -> None:
        rng = np.random.default_rng([36, date])
        coarse = gaussian_filter(rng.standard_normal((side_px // 16, side_px // 16)), sky.patch_px / 16, mode="wrap")
        thick = (np.quantile(coarse, shares[date % 50]) - coarse) / coarse.std()
        cloud = zoom(np.clip(4 * thick, 0, 1), 16, order=1).astype(np.float32)
        wedge = (row + 2 * column < side_px) & (date % 7 == 3)
        for asset, band in scene(green[date][field], cloud, wedge, date, sky.speckle).items():
            write(archive.path(date, asset), band, GSD_M[asset])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, missing))
    return archive


# --- a wide archive without its size: files in which the same tile lies everywhere ------------------------------------

# tags of a tiled TIFF that are taken over: types of samples, compression, predictor, tile size, georeference, nodata
KEPT = (258, 259, 262, 277, 284, 317, 322, 323, 339, 33550, 33922, 34735, 34737, 42113)
WIDTH, HEIGHT, OFFSETS, BYTE_COUNTS = 256, 257, 324, 325
LONG = 4  # TIFF's type of 32 bit


def repeat_tile(source: Path, target: Path, side_px: int) -> None:
    "A TIFF of any size whose tiles all are the first tile of another: legal, read as any other, and small."
    with tifffile.TiffFile(source) as tif, source.open("rb") as file:
        page = tif.pages[0]
        file.seek(page.dataoffsets[0])
        tile = file.read(page.databytecounts[0])
        entries = {}  # tag -> type, count, bytes
        for code in KEPT:
            if code in page.tags:
                tag = page.tags[code]
                file.seek(tag.valueoffset)
                entries[code] = (int(tag.dtype), tag.count, file.read(tag.valuebytecount))
        n_tiles = (-(-side_px // page.tilewidth)) ** 2
    entries |= {code: (LONG, 1, struct.pack("<I", side_px)) for code in (WIDTH, HEIGHT)}
    entries[BYTE_COUNTS] = (LONG, n_tiles, struct.pack(f"<{n_tiles}I", *[len(tile)] * n_tiles))
    entries[OFFSETS] = (LONG, n_tiles, b"\0" * 4 * n_tiles)
    data_at = 8 + 2 + 12 * len(entries) + 4
    tile_at = data_at + sum(len(value) + len(value) % 2 for _, _, value in entries.values() if len(value) > 4)
    entries[OFFSETS] = (LONG, n_tiles, struct.pack(f"<{n_tiles}I", *[tile_at] * n_tiles))
    head, data = struct.pack("<2sHIH", b"II", 42, 8, len(entries)), b""
    for code, (kind, count, value) in sorted(entries.items()):
        if len(value) > 4:
            head += struct.pack("<HHII", code, kind, count, data_at + len(data))
            data += value + b"\0" * (len(value) % 2)
        else:
            head += struct.pack("<HHI", code, kind, count) + value.ljust(4, b"\0")
    with publish(target) as draft:
        draft.write_bytes(head + struct.pack("<I", 0) + data + tile)


def widen(archive: Archive, side_px: int, n_dates: int) -> Archive:
    "The archive's upper left tiles, repeated over a larger area."
    wide = replace(archive, folder=archive.folder.parent / f"{side_px}px_of_one_tile", side_px=side_px)
    for date, asset in product(range(n_dates), GSD_M):
        if not wide.path(date, asset).exists():
            repeat_tile(archive.path(date, asset), wide.path(date, asset), side_px * 10 // GSD_M[asset])
    return wide

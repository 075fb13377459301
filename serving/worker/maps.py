"One map, as a job makes it; models of the store, loaded once."

import fcntl
import io
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shapely.geometry import shape

from geocrop import settings
from geocrop.clouds import Mask
from geocrop.cube import grid
from geocrop.items import reading_threads, search
from geocrop.mapping import MapModel, Product, map_area
from geocrop.schema import AOI, CLASS_NODATA, Area, ModelError, Season, StoreError, geometry
from geocrop.store import bucket, read_bytes
from serving import tracing
from serving.jobs import models
from serving.jobs.models import Model

if TYPE_CHECKING:
    import geopandas as gpd

LEAST_PLACES = 10  # of a survey inside a map: nbs/37_reference shows that its limits hold with a dozen
KEPT = 2  # models in memory: the champion, and the one before, of which jobs may still wait


@dataclass(frozen=True, slots=True)
class Made:
    "A finished map, and what it took."

    product: Product
    scenes: int
    pixels: int  # Of its grid
    seconds: float  # Search included


def make(
    model: MapModel,
    area: Area,
    season: Season,
    out: Path,  # The .tif to write
    tell: Callable[[int, str], None] = lambda progress, message: None,  # Called with per cent, and words
) -> Made:
    "Map an area as params.yaml says. GeocropError as the library raises it."
    begin = time.monotonic()
    visited = _reference_survey()  # what is wrong with it is said before the work
    tell(1, "searching scenes")
    with tracing.span("search scenes"):
        found = search(area, season)
    geobox, features = grid(found), settings.params("features")
    doing = f"mapping {len(found)} scenes"
    with tracing.span("map windows", facts={"geocrop.scenes": len(found)}):
        windows = tracing.Laps("window")

        def told(done: int, total: int) -> None:
            if done:
                windows.lap({"geocrop.pixels_done": done})
            tell(5 + 85 * done // max(total, 1), doing)

        product = map_area(
            model,
            found,
            geobox,
            out,
            min_clear=features.min_clear,
            mask=Mask.of(features),
            window_px=settings.params("export").window_px,
            threads=reading_threads(settings.params("base").threads),
            progress=told,
        )
    if visited is not None:
        tell(91, "estimating hectares")
        _estimate_hectares(out, visited)
    return Made(product, len(found), geobox.shape[0] * geobox.shape[1], time.monotonic() - begin)


def _reference_survey() -> "gpd.GeoDataFrame | None":
    "The project's survey of the ground; None where there is none. StoreError where it cannot be read."
    where = settings.settings("labels").reference
    if not where:
        return None
    import geopandas as gpd  # here, and below: most projects have no survey, and tables of it take memory

    try:
        return gpd.read_parquet(io.BytesIO(read_bytes(where)))
    except ValueError as error:
        raise StoreError(
            f"Reference survey {where}", found=f"no GeoParquet ({' '.join(str(error).split())[:200]})",
            expected="what geocrop.reference.draw made, filled in", remedy="Correct labels.reference of settings.ini.",
        ) from None  # fmt: skip


def _estimate_hectares(out: Path, visited: "gpd.GeoDataFrame") -> None:
    "Put intervals into a map's statistics, by a survey of all the land of which it shows a part."
    from geocrop.product import classes_at, with_survey

    if (classes_at(out, visited) != CLASS_NODATA).sum() >= LEAST_PLACES:
        with_survey(out, visited)


def warm(
    model: MapModel,
    radius_m: float,
) -> Made:  # The second map: what one takes when all is compiled and open
    "Map the middle of the project's area for nobody, twice: whoever asks first shall not wait for compilers."
    west, south, east, north = shape(geometry(settings.area())).bounds
    disc = AOI((west + east) / 2, (south + north) / 2, radius_m)
    with tempfile.TemporaryDirectory(prefix="geocrop-warm-") as folder:
        for turn in range(2):
            made = make(model, disc, settings.season(), Path(folder) / f"{turn}.tif")
    return made


def cache() -> Path:
    "What is kept on this machine: bundles of the store."
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "geocrop"


@contextmanager
def compiling_once() -> Iterator[None]:
    "One process of this machine at a time finds everything not compiled; those that waited find it done, together."
    with ExitStack() as held:
        with suppress(OSError):  # no place for a lock: each for itself
            cache().mkdir(parents=True, exist_ok=True)
            lock = held.enter_context((cache() / "compiling.lock").open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield


class Loaded:
    "Models that are ready to map; those asked for last stay in memory."

    def __init__(self) -> None:
        self._ready: OrderedDict[str, MapModel] = OrderedDict()

    def get(
        self,
        where: str,  # Store of models: a folder, or s3://bucket
        model: Model,
    ) -> MapModel:
        "A model of the store. StoreError where it is not there, ModelError where it is not what it should be."
        if model.sha256 not in self._ready:
            ready = MapModel.load(models.fetch(bucket(where), model, cache() / "models"))
            if ready.bundle.sha256 != model.sha256:
                raise ModelError(
                    f"Model {model.name} {model.version}",
                    found=f"a bundle {ready.bundle.sha256[:12]}...",
                    expected=f"{model.sha256[:12]}..., as the job says",
                    remedy=f"Remove {cache()} and try again.",
                )
            self._ready[model.sha256] = ready
            while len(self._ready) > KEPT:
                self._ready.popitem(last=False)
        self._ready.move_to_end(model.sha256)
        return self._ready[model.sha256]

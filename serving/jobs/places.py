"Where a job is, and what is asked for: geometries that PostGIS and shapely understand in the same way."

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import shapely

from geocrop.schema import SchemaError


def shape(
    outline: Mapping[str, Any],  # GeoJSON geometry
    thing: str,  # What it is, for the error
) -> Any:  # The same for shapely; heights are left out
    "A geometry that is one: SchemaError where it is empty, crosses itself or has no coordinates."
    try:
        found = shapely.force_2d(shapely.geometry.shape(outline))
        wrong = "nothing in it" if found.is_empty else "" if found.is_valid else shapely.is_valid_reason(found)
    except (shapely.errors.ShapelyError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        wrong = f"no geometry ({type(error).__name__}: {error})"
    if wrong:
        raise SchemaError(
            thing,
            found=wrong[:200],
            expected="a valid GeoJSON geometry, longitude first",
            remedy="Correct it: rings closed, not crossing themselves, holes inside.",
        )
    return found


def box(
    bbox: Sequence[float],  # West, south, east, north in degrees; west > east: across the antimeridian
) -> Any:
    "A box, which may have shrunk to a line or a point. SchemaError where it is none."
    if len(bbox) != 4 or not all(map(math.isfinite, bbox)) or not -90 <= bbox[1] <= bbox[3] <= 90:
        raise SchemaError(
            "bbox",
            found=list(bbox)[:6],
            expected="west, south, east, north in degrees",
            remedy="Longitude first, south before north.",
        )
    west, south, east, north = bbox
    if west > east:
        return shapely.union(box((west, south, 180, north)), box((-180, south, east, north)))
    if west < east and south < north:
        return shapely.box(west, south, east, north)
    line = west < east or south < north
    return shapely.LineString([(west, south), (east, north)]) if line else shapely.Point(west, south)


def parts(place: Any) -> Iterator[Any]:
    "The geometries of a collection one by one: GEOS, where it is older than 3.12, stumbles over those that overlap."
    if place.geom_type != "GeometryCollection":
        yield place
    else:
        for part in place.geoms:
            yield from parts(part)


def touches(
    place: Any,
    area: Mapping[str, Any],  # GeoJSON geometry of a job
) -> bool:
    "Whether they share a point: ST_Intersects, for a database that has none."
    return bool(shapely.intersects(place, shapely.geometry.shape(area)))

"Successful jobs by place and time: PostGIS and SQLite with shapely give the same answers."

import datetime as dt
import random
from collections.abc import Iterator

import asked
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from geocrop.schema import AOI, SchemaError, Season
from serving.jobs import database, jobs, users
from serving.jobs.jobs import Job
from serving.jobs.users import User

EVERYWHERE = (-180.0, -90.0, 180.0, 90.0)


def mapped(engine: Engine, user: User, **how) -> Job:
    "A job that has succeeded."
    asked.job(engine, user, **how)
    run = jobs.claim(engine, "worker", 60)
    assert run and jobs.publish(engine, run, "worker", {"files": {}})
    return jobs.get(engine, run.id)


def square(west: float, south: float, side: float = 1.0) -> dict:
    return shapely.geometry.mapping(shapely.box(west, south, west + side, south + side))


def places(found: list[Job]) -> list[float]:
    return sorted(job.west for job in found)


def test_only_what_touches_is_found(engine: Engine, admin: User):
    for west in (10, 12, 14):
        mapped(engine, admin, area=square(west, -18))

    def west_of(**how) -> list[float]:
        return places(jobs.found(engine, admin, limit=9, **how))

    assert west_of() == west_of(bbox=EVERYWHERE) == [10, 12, 14]
    assert west_of(bbox=(11.5, -20, 12.5, -10)) == [12]
    assert west_of(bbox=(11, -20, 12, -17.5)) == [10, 12]  # an edge is enough
    assert west_of(bbox=(11, -17, 11, -17)) == [10]  # a corner, asked for by a point
    assert west_of(bbox=(13.1, -18, 13.9, -17)) == []
    assert west_of(intersects={"type": "LineString", "coordinates": [[9, -18.5], [12.5, -17]]}) == [10, 12]
    triangle = [[10, -16], [13, -16], [13, -17.4], [10, -16]]  # its box covers what it leaves out itself
    assert west_of(intersects={"type": "Polygon", "coordinates": [triangle]}) == [12]
    assert west_of(bbox=(14.5, -90, 10.5, 90)) == [10, 14]  # the long way round, across the antimeridian


def test_only_ones_own_successes_are_found(engine: Engine, user: User, admin: User):
    mine, theirs = mapped(engine, user), mapped(engine, admin)
    asked.job(engine, user)
    jobs.fail(engine, jobs.claim(engine, "worker", 60), "worker", {})
    asked.job(engine, user)
    assert jobs.found(engine, user, bbox=EVERYWHERE, limit=9) == [mine]
    assert jobs.found(engine, admin, bbox=EVERYWHERE, limit=9) == [theirs, mine]


def test_a_season_is_found_by_any_of_its_days(engine: Engine, admin: User):
    for year in (2020, 2021, 2022):
        mapped(engine, admin, year=year, season=Season(year))

    def years(first: str | None, last: str | None) -> list[int]:
        days = tuple(dt.date.fromisoformat(day) if day else None for day in (first, last))
        return sorted(job.year for job in jobs.found(engine, admin, bbox=EVERYWHERE, interval=days, limit=9))

    assert years(None, None) == [2020, 2021, 2022]
    assert years("2021-05-31", "2021-05-31") == [2020]  # its last day
    assert years("2021-06-01", "2021-08-31") == []
    assert years("2021-06-01", "2021-09-01") == [2021]
    assert years("2022-02-01", None) == [2021, 2022]
    assert years(None, "2021-09-01") == [2020, 2021]


def test_pages_of_places_show_each_job_once(engine: Engine, admin: User):
    for west in range(7):
        mapped(engine, admin, area=square(10 + 2 * west, -18))
    shown, after = [], None
    while page := jobs.found(engine, admin, bbox=(12, -18, 21, -17), limit=2, after=after):
        shown += page
        after = page[-1].id
    assert [job.west for job in shown] == [20, 18, 16, 14, 12]


@pytest.mark.parametrize(
    "how",
    [
        {"bbox": (1, 2, 3)},
        {"bbox": (1, 5, 3, 2)},
        {"bbox": (1, 2, float("inf"), 4)},
        {"bbox": (1, 2, 3, float("nan"))},
        {"intersects": {"type": "Nonsense"}},
        {"intersects": {"type": "Point", "coordinates": []}},
        {"intersects": {"type": "Point", "coordinates": ["a", "b"]}},
        {"intersects": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}},
        {"intersects": {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}},
        {"bbox": EVERYWHERE, "intersects": {"type": "Point", "coordinates": [0, 0]}},
    ],
)
def test_a_place_that_is_none_is_refused(engine: Engine, admin: User, how: dict):
    with pytest.raises(SchemaError):
        jobs.found(engine, admin, limit=9, **how)


# --- the same answers ------------------------------------------------------------------------------------------------

whole = st.integers(-4, 4)  # on a small grid edges and corners often touch
discs = st.builds(AOI, st.floats(-4, 4), st.floats(-4, 4), st.floats(100, 200_000)).map(AOI.polygon)
boxes = st.builds(
    lambda w, s, x, y: shapely.box(w, s, w + x, s + y), whole, whole, st.integers(1, 3), st.integers(1, 3)
)
hulls = st.lists(st.tuples(whole, whole), min_size=1, max_size=7).map(lambda at: shapely.MultiPoint(at).convex_hull)
mixed = st.lists(boxes | hulls, min_size=1, max_size=3).map(shapely.GeometryCollection)
asked_for = st.one_of(boxes, hulls, mixed, boxes.map(lambda box: box.exterior)).map(shapely.geometry.mapping) | discs


def areas(count: int) -> list[dict]:
    "Discs, boxes and triangles, some of them on the grid, always the same."
    chance, found = random.Random(7), []
    while len(found) < count:
        lon, lat = chance.uniform(-4, 4), chance.uniform(-4, 4)
        points = [(chance.randint(-4, 4), chance.randint(-4, 4)) for _ in range(3)]
        found += [AOI(lon, lat, chance.uniform(1e3, 2e5)).polygon(), square(round(lon), round(lat))]
        hull = shapely.MultiPoint(points).convex_hull
        found += [shapely.geometry.mapping(hull)] if hull.geom_type == "Polygon" else []
    return found[:count]


@pytest.fixture
def both(sqlite_url: str, postgres_url: str) -> Iterator[list[tuple[Engine, User]]]:
    "The same forty maps in both databases."
    found = []
    for url in (sqlite_url, postgres_url):
        engine = database.connect(url)
        admin = users.add(engine, "root", "password of root", "admin")
        for number, area in enumerate(areas(40)):
            mapped(engine, admin, area=area, year=2000 + number, season=Season(2000 + number))
        found.append((engine, admin))
    yield found
    for engine, _ in found:
        engine.dispose()


def test_both_databases_find_the_same_places(both: list[tuple[Engine, User]]):
    shapes = {2000 + number: shapely.geometry.shape(area) for number, area in enumerate(areas(40))}

    @settings(max_examples=200, deadline=None)
    @given(outline=asked_for)
    def same(outline: dict) -> None:
        asked_shape = shapely.geometry.shape(outline)
        expected = [year for year, shape in shapes.items() if shapely.intersects(asked_shape, shape)]
        for engine, admin in both:
            assert sorted(job.year for job in jobs.found(engine, admin, intersects=outline, limit=99)) == expected

    same()


def test_postgis_looks_into_its_index(postgres_url: str):
    engine = database.connect(postgres_url)
    near = "ST_Intersects(area_geom, ST_MakeEnvelope(1, 1, 2, 2, 4326))"
    with engine.begin() as conn:
        conn.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = conn.scalars(sa.text(f"EXPLAIN SELECT id FROM jobs WHERE {near}")).all()
    engine.dispose()
    assert any("ix_jobs_area_geom" in line for line in plan)

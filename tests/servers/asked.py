"Jobs as users ask for them, for tests that need some."

from typing import Any

from sqlalchemy import Engine

from geocrop import settings
from geocrop.schema import AOI, Season
from serving.jobs import jobs
from serving.jobs.jobs import Job
from serving.jobs.models import Model
from serving.jobs.users import User

MODEL = Model("zimbabwe_embedded", "1", "0" * 64)


def job(
    engine: Engine,
    user: User,
    aoi: tuple[float, float, float] = (31.05, -17.83, 2000.0),  # lon, lat, radius_m
    year: int = 2022,
    **how: Any,  # Arguments of jobs.submit
) -> Job:
    "A job that has been submitted."
    wanted = {"area": AOI(*aoi), "season": Season(year), "model": MODEL, "limits": settings.Jobs(), **how}
    return jobs.submit(engine, user, {"aoi": list(aoi), "year": year, "model": "champion"}, **wanted)[0]

"""Bodies of requests, checked strictly, and of answers, documented.

Answers are written as dictionaries and sent as they are: the classes stand in the OpenAPI document, and tests hold the
answers against it.
"""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from geocrop.schema import AOI, Area
from serving.jobs.jobs import Job

PROCESS = "crop-map"
STATUSES = Literal["accepted", "running", "successful", "failed", "dismissed"]
LEAST_RADIUS_M, MOST_RADIUS_M = 50, 1_000_000  # of any installation; its own bounds are in /limits
RINGS, VERTICES = 10, 1000
MEDIA = {
    ".tif": "image/tiff; application=geotiff; profile=cloud-optimized",
    ".stats.json": "application/json",
    ".json": "application/geo+json",
    ".qml": "application/xml",
    ".xml": "application/xml",
    ".parquet": "application/vnd.apache.parquet",
    ".txt": "text/plain",
}

Degrees = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Lon = Annotated[Degrees, Field(ge=-180, le=180)]
Lat = Annotated[Degrees, Field(ge=-90, le=90)]
QueryLon = Annotated[float, Query(ge=-180, le=180, allow_inf_nan=False)]
QueryLat = Annotated[float, Query(ge=-90, le=90, allow_inf_nan=False)]
RadiusM = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=LEAST_RADIUS_M, le=MOST_RADIUS_M)]
Disc = tuple[Lon, Lat, RadiusM]
Position = tuple[Lon, Lat]
Ring = Annotated[list[Position], Field(min_length=4, max_length=VERTICES)]
Year = Annotated[int, Field(strict=True, ge=1985, le=2100, description="In which the season starts")]

DISC: JsonDict = {"aoi": [31.05, -17.83, 2000], "year": 2022}
POLYGON: JsonDict = {
    "aoi": {"type": "Polygon", "coordinates": [[[31.03, -17.84], [31.06, -17.84], [31.06, -17.82], [31.03, -17.84]]]},
    "year": 2022,
}


class Strict(BaseModel):
    "A body that holds nothing else."

    model_config = ConfigDict(extra="forbid")


class Polygon(Strict):
    "GeoJSON Polygon, WGS 84, longitude first, rings closed."

    type: Literal["Polygon"]
    coordinates: Annotated[list[Ring], Field(min_length=1, max_length=RINGS)]


class Place(Strict):
    "What is to be mapped."

    aoi: Annotated[Disc | Polygon, Field(description="[lon, lat, radius in metres], or a GeoJSON Polygon")]
    year: Year

    @property
    def area(self) -> Area:
        "The area as the library takes it."
        return self.aoi.model_dump() if isinstance(self.aoi, Polygon) else AOI(*self.aoi)


class Inputs(Place):
    "Inputs of the process."

    model: Literal["champion"] = "champion"


class Reference(BaseModel):
    "How an output is wanted. There is one way: by reference."

    model_config = ConfigDict(extra="ignore")
    transmissionMode: Literal["reference"] = "reference"


class Execute(Strict):
    "OGC API - Processes: execute."

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"inputs": DISC}, {"inputs": POLYGON | {"model": "champion"}}]}
    )
    inputs: Inputs
    outputs: Annotated[dict[str, Reference] | None, Field(max_length=10)] = None
    response: Literal["document"] = "document"


class Ask(Strict):
    "A quote for a map."

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"inputs": DISC}]})
    inputs: Place


class Link(BaseModel):
    "A link."

    href: str
    rel: str
    type: str | None = None
    title: str | None = None
    method: str | None = None


class ClassRow(BaseModel):
    "A class of a legend."

    id: int
    name: str
    colour: Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]


class ModelName(BaseModel):
    "The model of a job."

    name: str
    version: str


class StatusInfo(BaseModel):
    "OGC API - Processes: statusInfo."

    type: Literal["process"]
    processID: Literal["crop-map"]
    jobID: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    status: STATUSES
    progress: Annotated[int, Field(ge=0, le=100)]
    message: str
    created: dt.datetime
    started: dt.datetime | None
    finished: dt.datetime | None
    updated: dt.datetime
    attempt: int
    model: ModelName
    inputs: dict[str, Any]
    area: Annotated[dict[str, Any], Field(description="GeoJSON geometry")]
    links: list[Link]
    problem: Annotated[dict[str, Any] | None, Field(description="Why a job failed")] = None


class JobList(BaseModel):
    "Jobs, newest first."

    jobs: list[StatusInfo]
    links: list[Link]


class File(BaseModel):
    "A file of a result."

    href: str
    type: str


class Tiles(BaseModel):
    "Templates of tiles, WebMercatorQuad."

    model_config = ConfigDict(populate_by_name=True)
    classes: Annotated[str, Field(alias="class")]
    confidence: str


class ResultsPage(BaseModel):
    "OGC API - Processes: results. Outputs by reference, and what a map needs to be shown."

    map: File
    item: File
    statistics: File
    style: File | None = None
    tiles: Tiles
    bbox: Annotated[list[float], Field(min_length=4, max_length=4)]
    legend: list[ClassRow]
    summary: Annotated[dict[str, Any], Field(description="What the statistics file holds")]


class Quote(BaseModel):
    "What a map would cost."

    model_config = ConfigDict(extra="allow")
    hectares: float
    pixels: int
    seconds: Annotated[dict[str, float], Field(description="low, high")]
    ahead: Annotated[int, Field(description="Jobs that wait")]
    seconds_until_start: Annotated[float | None, Field(description="null: nobody can tell")]


class PointValues(BaseModel):
    "A pixel of a map. All null: no class there."

    model_config = ConfigDict(populate_by_name=True)
    crop: Annotated[ClassRow | None, Field(alias="class")]
    confidence: Annotated[int | None, Field(description="per cent")]
    margin: Annotated[int | None, Field(description="per cent")]
    clear_days: int | None
    applicable: Annotated[bool | None, Field(description="Whether the model knows land like this")]


def media(name: str) -> str:
    "Media type of a file, by its name."
    return next((media for suffix, media in MEDIA.items() if name.endswith(suffix)), "application/octet-stream")


def moment(seconds: float | None) -> str | None:
    "A time as RFC 3339 has it, UTC; None stays."
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def status_info(job: Job) -> dict[str, Any]:
    "A job as OGC API - Processes tells it."
    here = f"/jobs/{job.id}"
    links = [{"href": here, "rel": "self", "type": "application/json"}]
    if job.status == "successful":
        rel = "http://www.opengis.net/def/rel/ogc/1.0/results"
        links.append({"href": f"{here}/results", "rel": rel, "type": "application/json"})
    elif not job.ended:
        links.append({"href": f"{here}/events", "rel": "monitor", "type": "text/event-stream"})
    page = {
        "type": "process", "processID": PROCESS, "jobID": job.id, "status": job.status, "progress": job.progress,
        "message": job.message, "created": moment(job.created), "started": moment(job.started),
        "finished": moment(job.finished), "updated": moment(job.updated), "attempt": job.attempt,
        "model": {"name": job.model, "version": job.model_version}, "inputs": job.inputs, "area": job.area,
        "links": links,
    }  # fmt: skip
    if job.error:
        page["problem"] = failure(job.error)
    return page


def failure(
    error: dict[str, Any],  # serving.jobs.errors.described
) -> dict[str, Any]:
    "Why a job failed, as a problem."
    detail = "{thing}: found {found}; expected {expected}. {remedy}".format_map(error)
    return {"type": "about:blank", "title": "The job failed", "status": 500, "detail": detail, **error}

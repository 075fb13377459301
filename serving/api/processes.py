"""OGC API - Processes 1.0: what can be computed here, and asking for it.

Conformance is claimed for what is held: executions are asynchronous, outputs go by reference, in a document.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path
from starlette.responses import Response

from geocrop import settings
from geocrop.schema import Area, SchemaError, Season
from serving.jobs import jobs

from .auth import SignedIn
from .errors import NoSuchProcess
from .problems import documented
from .replies import Json
from .service import Here, Service
from .shapes import PROCESS, Execute, Inputs, Place, StatusInfo, status_info

router = APIRouter(tags=["processes"])
VERSION = "1.0.0"  # of the process: of what goes in and comes out
CONFORMS = [
    f"http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/{name}"
    for name in ("core", "ogc-process-description", "json", "dismiss")
]
ProcessId = Annotated[str, Path(max_length=100, examples=[PROCESS])]

JSON, GEOTIFF = "application/json", "image/tiff; application=geotiff; profile=cloud-optimized"
SUMMARY: dict[str, Any] = {
    "id": PROCESS,
    "title": "Crop map of a season",
    "description": "Class of each 10 m pixel of an area in one summer season, from Sentinel-2, and how sure it is.",
    "version": VERSION,
    "keywords": ["crop type", "Sentinel-2", "land cover"],
    "jobControlOptions": ["async-execute", "dismiss"],
    "outputTransmission": ["reference"],
}
OUTPUTS = {
    "map": ("Class, confidence, margin, clear days, applicability", GEOTIFF),
    "item": ("STAC item of the map", "application/geo+json"),
    "statistics": ("Hectares of each class, with their intervals where there is a survey", JSON),
    "style": ("Legend for QGIS", "application/xml"),
}


def landing(links: list[dict[str, Any]]) -> dict[str, Any]:
    "The landing page, with links to what else there is."
    about = {"title": "geocrop", "description": "Crop maps on demand: OGC API - Processes, STAC, tiles."}
    found = [
        {"href": "/", "rel": "self", "type": JSON, "title": "This page"},
        {"href": "/openapi.json", "rel": "service-desc", "type": "application/vnd.oai.openapi+json;version=3.1"},
        {"href": "/conformance", "rel": "conformance", "type": JSON},
        {"href": "/conformance", "rel": "http://www.opengis.net/def/rel/ogc/1.0/conformance", "type": JSON},
        {"href": "/processes", "rel": "http://www.opengis.net/def/rel/ogc/1.0/processes", "type": JSON},
        {"href": "/jobs", "rel": "http://www.opengis.net/def/rel/ogc/1.0/job-list", "type": JSON},
    ]
    return about | {"links": found + links}


@router.get("/conformance", summary="Standards held")
async def conformance() -> Response:
    "Conformance classes of OGC API - Processes; those of STAC are at /stac."
    return Json({"conformsTo": CONFORMS})


@router.get("/processes", summary="What can be computed")
async def processes() -> Response:
    "All processes; there is one."
    links = [{"href": f"/processes/{PROCESS}", "rel": "self", "type": JSON, "title": "Description"}]
    return Json(
        {"processes": [SUMMARY | {"links": links}], "links": [{"href": "/processes", "rel": "self", "type": JSON}]}
    )


@router.get("/processes/{process}", responses=documented(404), summary="What goes in and comes out")
async def process(here: Here, process: ProcessId) -> Response:
    "Inputs and outputs of a process, as JSON schemas."
    check_process(process)
    execute = {"href": f"/processes/{PROCESS}/execution", "rel": "http://www.opengis.net/def/rel/ogc/1.0/execute"}
    links = [{"href": f"/processes/{PROCESS}", "rel": "self", "type": JSON}, execute | {"type": JSON}]
    return Json(SUMMARY | {"inputs": _inputs(), "outputs": _outputs(), "links": links})


def _inputs() -> dict[str, Any]:
    schema = Inputs.model_json_schema(ref_template="#/{model}")
    polygon = schema["$defs"]["Polygon"]
    aoi, year, model = (schema["properties"][name] for name in ("aoi", "year", "model"))
    disc = next(part for part in aoi["anyOf"] if part.get("type") == "array")
    return {
        "aoi": {
            "title": "Area",
            "description": "A disc, [longitude, latitude, radius in metres], or a GeoJSON Polygon; WGS 84.",
            "schema": {"oneOf": [disc, polygon | {"format": "geojson-geometry"}]},
            "minOccurs": 1,
            "maxOccurs": 1,
        },
        "year": {"title": "Year in which the season starts", "schema": year, "minOccurs": 1, "maxOccurs": 1},
        "model": {"title": "Model", "schema": model, "minOccurs": 0, "maxOccurs": 1},
    }


def _outputs() -> dict[str, Any]:
    return {
        name: {"title": title, "schema": {"type": "string", "contentMediaType": media}}
        for name, (title, media) in OUTPUTS.items()
    }


@router.post(
    "/processes/{process}/execution",
    status_code=201,
    response_model=StatusInfo,
    responses={
        201: {"description": "The job", "headers": {"Location": {"schema": {"type": "string"}}}},
        **documented(400, 401, 404, 409, 413, 422, 429, 503),
    },
    summary="Ask for a map",
)
def execute(
    here: Here,
    user: SignedIn,
    process: ProcessId,
    body: Execute,
    idempotency_key: Annotated[
        str | None, Header(max_length=128, description="The same key again gives the same job", examples=["a UUID"])
    ] = None,
) -> Response:
    "A job, which a worker will take. It is kept from now on, whatever happens to this process or the queue."
    check_process(process)
    area, season = checked(here, body.inputs)
    job, new = jobs.submit(
        here.engine, user, body.inputs.model_dump(), area=area, season=season, model=here.champion(),
        limits=here.limits, key=idempotency_key,
    )  # fmt: skip
    if new:
        here.caller.call(job.id)
    headers = {"Location": f"/jobs/{job.id}", "Preference-Applied": "respond-async"}
    return Json(status_info(job), 201, headers)


def checked(here: Service, place: Place) -> tuple[Area, Season]:
    "Area and season of a request. SchemaError where no map can be made of them."
    area, season = place.area, Season(place.year, here.base.start, here.base.end)
    settings.check_request(area, season, within=here.bounds)
    if place.year not in here.seasons():
        years = here.seasons()
        raise SchemaError(
            f"Season {place.year}",
            found="no imagery of it in this service",
            expected=f"{years[0]} to {years[-1]}" if len(years) > 1 else str(years[0]),
            remedy="Choose one of the seasons of /limits.",
        )
    return area, season


def check_process(process: str) -> None:
    if process != PROCESS:
        raise NoSuchProcess(
            f"Process {process[:40]!r}", found="no such process", expected=PROCESS, remedy="List them at /processes."
        )

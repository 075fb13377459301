"Jobs: list, status, dismissal, and events as they happen."

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from serving.jobs import jobs
from serving.jobs.jobs import Job

from . import paging
from .auth import SignedIn
from .paging import After, Limit
from .problems import documented
from .replies import Json
from .service import Here, Service
from .shapes import STATUSES, JobList, StatusInfo, status_info

router = APIRouter(tags=["jobs"])
JobId = Annotated[str, Path(max_length=64, description="Id of a job", examples=["0123456789abcdef0123456789abcdef"])]
NO_STORE = {"Cache-Control": "no-store"}  # a status is true for a moment


def own_job(here: Here, user: SignedIn, id: JobId) -> Job:
    "A job that whoever asks may see. JobNotFound."
    return jobs.get(here.engine, id, user)


OwnJob = Annotated[Job, Depends(own_job)]


@router.get("/jobs/{id}", response_model=StatusInfo, responses=documented(401, 404, 503), summary="Status of a job")
async def status(here: Here, user: SignedIn, id: JobId) -> Response:
    "Where a job stands, or stood at most two seconds ago, mostly half a one."
    known = here.changes.known(id)
    if known is None or not (user.admin or user.id == known.job.user_id):
        known = here.changes.keep(await run_in_threadpool(jobs.get, here.engine, id, user))
    return Response(known.told(), headers=NO_STORE, media_type=Json.media_type)


@router.get("/jobs", response_model=JobList, responses=documented(401, 404, 422, 503), summary="My jobs")
def listed(
    here: Here,
    user: SignedIn,
    limit: Limit = 20,
    after: After = None,
    status: Annotated[STATUSES | None, Query(description="Jobs of this status only")] = None,
) -> Response:
    "Jobs of whoever asks, newest first; an administrator's are everybody's."
    found = jobs.listed(here.engine, user, limit=limit + 1, after=paging.job_id(after), status=status)
    links = [{"href": paging.address("/jobs", limit=limit, after=after, status=status), "rel": "self"}]
    if len(found) > limit:
        cursor = paging.cursor(found[limit - 1].id)
        links.append({"href": paging.address("/jobs", limit=limit, after=cursor, status=status), "rel": "next"})
    links = [link | {"type": "application/json"} for link in links]
    return Json({"jobs": [status_info(job) for job in found[:limit]], "links": links}, headers=NO_STORE)


@router.delete(
    "/jobs/{id}", response_model=StatusInfo, responses=documented(401, 404, 409, 503), summary="Dismiss a job"
)
async def dismiss(here: Here, user: SignedIn, id: JobId) -> Response:
    "End a job that is not wanted any more; its worker stops within a heartbeat."
    # Of a job that has ended OGC 18-062r2 (clause 13) says that its artefacts may be removed, not that they must: ours
    # stay, as the job counts and its map may be in use. JobEnded.
    known = here.changes.keep(await run_in_threadpool(jobs.dismiss, here.engine, id, user))
    return Response(known.told(), media_type=Json.media_type)


@router.get(
    "/jobs/{id}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}, **documented(401, 404, 503)},
    summary="Changes of a job",
)
async def events(here: Here, job: OwnJob) -> Response:
    "Server-sent events: `status` with the job's status at each change, to its end; a comment in between."
    here.changes.admit()
    headers = NO_STORE | {"X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(here, job), media_type="text/event-stream", headers=headers)


async def _stream(here: Service, job: Job) -> AsyncIterator[bytes]:
    async for told in here.changes.follow(job):
        yield b": nothing new\n\n" if told is None else b"event: status\ndata: " + told + b"\n\n"

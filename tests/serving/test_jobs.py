"Jobs from the question to the end, on both databases."

import asked
import pytest
from sqlalchemy import Engine

from geocrop import settings
from serving.jobs import jobs
from serving.jobs.users import User

LIMITS = settings.Jobs()


def test_a_job_runs_and_succeeds(engine: Engine, user: User):
    job = asked.job(engine, user)
    assert (job.status, job.attempt, job.started, job.finished) == ("accepted", 0, None, None)
    running = jobs.claim(engine, "worker", 30)
    assert running and running.id == job.id

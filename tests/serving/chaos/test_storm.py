"Everything that can be killed is killed, again and again."

import hashlib
from collections.abc import Callable

import audit
import storm
from deployed import deployed
from ground import Ground

from serving.jobs import jobs

PLACES = [(31.045 + 0.001 * k, -17.83, 100.0) for k in range(4)]


def test_every_job_is_published_once(ground: Ground, long: bool, did: Callable[[str], None]):
    "accepted jobs are run at least once and published exactly once, whoever is killed, whatever the queue forgets"
    count, kills, flushes = (60, 25, 6) if long else (16, 7, 2)
    flushes = flushes if ground.redis else 0
    aois = [PLACES[k % len(PLACES)] for k in range(count)]
    with deployed(ground.place().but("jobs", attempts=100), workers=2) as service:
        audit.begin(service.engine)
        client = service.newcomer("admin")
        undisturbed = [client.ended(client.submit(aoi).json()["jobID"]) for aoi in PLACES]
        expected = [hashlib.sha256(client.map_of(job["jobID"])[0]).hexdigest() for job in undisturbed]
        toll = storm.weather(service, client, aois, kills, flushes)

        assert len({job["jobID"] for job in toll.jobs}) == count
        assert sum(jobs.counts(service.engine).values()) == count + len(PLACES)  # nothing was accepted twice
        assert {job["status"] for job in toll.jobs} == {"successful"}
        lives = storm.lives(service, toll)
        assert [life.published for life in lives] == [1] * count
        assert [life.after_the_end for life in lives] == [0] * count
        assert all(life.runs >= 1 for life in lives)
        for job in toll.jobs:
            content, stated = client.map_of(job["jobID"])
            place = PLACES.index(tuple(job["inputs"]["aoi"]))
            assert hashlib.sha256(content).hexdigest() == stated == expected[place]
    runs = sum(life.runs for life in lives)
    blows = ", ".join(f"{number} of {name}" for name, number in sorted(toll.blows.items()))
    did(f"{count} jobs, {kills} SIGKILLs and {flushes} FLUSHALLs ({blows}): {runs} runs, {count} published once")

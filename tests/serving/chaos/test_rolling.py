"A new process of the API takes over from an old one."

import threading
import time
from collections.abc import Callable

import httpx
from deployed import Client, Deployed, until

STARTED = "listening on"
PAUSE_S = 0.01  # between two requests of a client: starting takes long enough where there are two cores
CLIENTS = 4  # with a connection that is kept, and as many with a new one for each request


def test_a_rolling_restart_drops_no_request(service: Deployed, admin: Client, did: Callable[[str], None]):
    "a rolling restart drops no request"
    id = admin.ended(admin.submit((31.06, -17.84, 100.0)).json()["jobID"])["jobID"]
    answered, failed, over = [0] * 2 * CLIENTS, list[str](), threading.Event()

    def ask(number: int) -> None:
        headers = dict(admin.http.headers) | ({"Connection": "close"} if number % 2 else {})
        with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=30) as http:
            while not over.is_set():
                try:
                    answer = http.get(f"/jobs/{id}")
                    if answer.status_code != 200:
                        failed.append(f"{answer.status_code} {answer.text[:200]}")
                except httpx.HTTPError as error:
                    failed.append(repr(error))
                answered[number] += 1
                time.sleep(PAUSE_S)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(2 * CLIENTS)]
    for thread in threads:
        thread.start()
    statuses = []
    try:
        for _ in range(2):
            old, log = service.api, service.place.folder / "api.log"
            before = log.read_text().count(STARTED)
            service.start_api()
            until(lambda: log.read_text().count(STARTED) > before, 60, "the new API does not start")  # noqa: B023
            statuses.append(old.stop())
            time.sleep(0.3)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failed
    assert statuses == [0, 0]
    did(f"2 restarts under {2 * CLIENTS} clients: {sum(answered)} requests, {len(failed)} failed")

"Who may come in: passwords, tokens, limits, and what a stranger learns."

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import asked
import httpx
import jwt
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from service import Project

from geocrop.schema import SettingsError
from geocrop.settings import Api
from serving.api import tokens
from serving.jobs import tables, users
from serving.jobs.users import User

PASSWORD = "correct horse"
SECRET = "f3b1c97a5d20e84b6f7a8c9d0e1f2a3b"  # as good as random, of 32 bytes


def sign_in(client: TestClient, name: str, password: str) -> httpx.Response:
    return client.post("/auth/token", data={"username": name, "password": password})


def test_a_password_becomes_a_token_and_a_token_says_who_one_is(client: TestClient, user: User, admin: User):
    answer = sign_in(client, "tendai", PASSWORD)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json() | {"access_token": ""} == {
        "access_token": "", "token_type": "bearer", "expires_in": tokens.TOKEN_S, "role": "recruiter",
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    me = client.get("/auth/me", headers=headers).json()
    assert me == {"name": "tendai", "role": "recruiter", "jobs_used": 0, "jobs_allowed": 5}
    claims = jwt.decode(answer.json()["access_token"], options={"verify_signature": False})
    assert set(claims) == {"sub", "aud", "iat", "exp"}  # no role: the database says it
    headers = {"Authorization": f"Bearer {sign_in(client, 'root', PASSWORD).json()['access_token']}"}
    assert client.get("/auth/me", headers=headers).json()["jobs_allowed"] is None


@pytest.mark.parametrize("name", ["tendai", "nobody", "No Body", "x\0y"])
def test_a_wrong_password_and_an_unknown_name_are_answered_alike(client: TestClient, user: User, name: str):
    answer = sign_in(client, name, "wrong")
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "Not signed in" and name not in answer.json()["detail"]


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    return {"sub": "tendai", "aud": "geocrop", "iat": now, "exp": now + 60} | changes


def unsigned(payload: dict[str, Any]) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in ({"alg": "none"}, payload)]
    return b".".join([*parts, b""]).decode()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no header", "none"),
        ("rubbish", "did not give"),
        ("other key", "did not give"),
        ("other algorithm", "did not give"),
        ("unsigned", "did not give"),
        ("other audience", "did not give"),
        ("no audience", "did not give"),
        ("no end", "did not give"),
        ("no name", "did not give"),
        ("not yet", "did not give"),
        ("expired", "expired"),
        ("unknown user", "no more"),
    ],
)
def test_a_token_that_does_not_hold_is_refused(
    client: TestClient, user: User, tendai: dict[str, str], project: Project, how: str, says: str
):
    key = (project.folder / "service.key").read_text()
    made = claims(
        **{
            "other audience": {"aud": "elsewhere"},
            "not yet": {"iat": int(time.time()) + 3600},
            "expired": {"exp": int(time.time()) - 10},
            "unknown user": {"sub": "nobody"},
        }.get(how, {})
    )
    made.pop({"no audience": "aud", "no end": "exp", "no name": "sub"}.get(how, ""), None)
    token = {
        "rubbish": "rubbish",
        "other key": jwt.encode(made, "k" * 64, "HS256"),
        "other algorithm": jwt.encode(made, key, "HS512"),
        "unsigned": unsigned(made),
    }.get(how) or jwt.encode(made, key, "HS256")
    headers = {} if how == "no header" else {"Authorization": f"Bearer {token}"}
    answer = client.get("/jobs", headers=headers)
    assert answer.status_code == 401 and says in answer.json()["found"], answer.text
    assert answer.headers["www-authenticate"] == "Bearer"
    good = jwt.encode(claims(), key, "HS256")  # what was wrong is what the test says, and nothing else
    assert client.get("/jobs", headers={"Authorization": f"Bearer {good}"}).status_code == 200


def test_a_user_who_is_removed_is_out_within_two_seconds(
    client: TestClient, user: User, tendai: dict[str, str], engine: sa.Engine
):
    assert client.get("/auth/me", headers=tendai).status_code == 200
    with engine.connect().execution_options(writes=True) as conn, conn.begin():
        conn.execute(sa.delete(tables.users).where(tables.users.c.id == user.id))
    end = time.monotonic() + tokens.FRESH_S + 1
    while client.get("/auth/me", headers=tendai).status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    assert client.get("/auth/me", headers=tendai).status_code == 401


PRIVATE = [
    ("GET", ""), ("DELETE", ""), ("GET", "/results"), ("GET", "/files/map.tif"), ("GET", "/events"),
    ("GET", "/point?lon=31.05&lat=-17.83"), ("GET", "/curve?lon=31.05&lat=-17.83"),
]  # fmt: skip


def test_a_job_of_somebody_else_is_not_there(
    client: TestClient, engine: sa.Engine, admin: User, tendai: dict[str, str]
):
    job = asked.job(engine, admin)
    places = [(method, f"/jobs/{job.id}{rest}") for method, rest in PRIVATE]
    places += [
        ("GET", f"/tiles/jobs/{job.id}/12/2400/2250.png"),
        ("GET", f"/stac/collections/crop-maps/items/{job.id}"),
    ]
    for method, path in places:
        answer, none = (client.request(method, p, headers=tendai) for p in (path, path.replace(job.id, "0" * 32)))
        assert (answer.status_code, none.status_code) == (404, 404), path
        assert answer.text.replace(job.id, "") == none.text.replace("0" * 32, ""), path  # nor is it told apart
        assert client.request(method, path).status_code == 401, path
    assert client.get("/jobs", headers=tendai).json()["jobs"] == []


def test_wrong_passwords_are_counted_by_name_and_address(client: TestClient, user: User, admin: User):
    for _ in range(tokens.AT_ONCE):
        assert sign_in(client, "tendai", "wrong").status_code == 401
    answer = sign_in(client, "tendai", PASSWORD)
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= tokens.TRIES_S
    assert sign_in(client, "root", PASSWORD).status_code == 200  # another name from the same address


def test_what_is_counted_is_forgotten_and_bounded():
    tries = tokens.Tries()
    for number in range(3 * tokens.REMEMBERED):
        tries.failed(f"name {number}", f"10.0.{number // 256}.{number % 256}")
    assert len(tries._failed) <= tokens.REMEMBERED
    for number in range(tokens.OF_ADDRESS):
        tries.failed(f"n{number}", "10.9.9.9")
    with pytest.raises(Exception, match="wrong passwords"):
        tries.check("new name", "10.9.9.9")
    tries.check("new name", "10.9.9.8")


def test_passwords_wait_their_turn_and_no_more_than_a_few(monkeypatch: pytest.MonkeyPatch):
    gate, together, most = threading.Event(), 0, 0
    lock = threading.Lock()

    def slow(*_: Any) -> User:
        nonlocal together, most
        with lock:
            together, most = together + 1, max(most, together + 1)
        gate.wait(60)
        with lock:
            together -= 1
        return User(1, "tendai", "recruiter")

    monkeypatch.setattr(users, "verify", slow)
    door = tokens.Door(sa.create_engine("sqlite://"), SECRET.encode())
    refused = 0

    async def one(number: int) -> None:
        nonlocal refused
        try:
            await door.sign_in("tendai", "x", str(number))
        except tokens.Busy:
            refused += 1

    async def all_of_them() -> None:
        async with anyio.create_task_group() as group:
            for number in range(tokens.HASHES + tokens.WAITING + 5):
                group.start_soon(one, number)
            with anyio.move_on_after(60):
                while refused < 5 or most < tokens.HASHES:
                    await anyio.sleep(0.01)
            await anyio.sleep(0.1)  # time for one too many
            gate.set()

    anyio.run(all_of_them)
    assert (refused, most) == (5, tokens.HASHES)


@pytest.mark.parametrize(
    "secret", ["", "short", "a" * 64, "change-me-change-me-change-me-change-me", "0123456789abcdef" + "Secret" * 4]
)
def test_a_stack_of_servers_does_not_start_on_a_secret_that_others_know(secret: str, tmp_path: Path):
    with pytest.raises(SettingsError, match="GEOCROP_API_SECRET"):
        tokens.secret(Api(embedded=False, secret=secret), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_stack_of_servers_starts_on_a_secret_of_its_own(tmp_path: Path):
    assert tokens.secret(Api(embedded=False, secret=SECRET), tmp_path) == SECRET.encode()


def test_the_embedded_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path):
    first = tokens.secret(Api(), tmp_path)
    assert len(first) >= 32 and tokens.secret(Api(), tmp_path) == first
    [kept] = tmp_path.iterdir()
    assert kept.name == "service.key" and kept.stat().st_mode & 0o777 == 0o600
    kept.write_text("short")
    with pytest.raises(SettingsError, match="Remove it"):
        tokens.secret(Api(), tmp_path)

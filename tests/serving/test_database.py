"SQLite and PostgreSQL behind one door: tables, transactions, and a server that goes away and comes back."

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asked
import pytest
import sqlalchemy as sa
from alembic import command
from loopback import free_ports
from postgres import initialise, started
from sqlalchemy import Engine

from geocrop import settings
from serving.jobs import database, jobs, tables, users
from serving.jobs.errors import DatabaseUnavailable
from serving.jobs.users import User

LIMITS = settings.Jobs()


# --- tables ----------------------------------------------------------------------------------------------------------


def test_migrations_make_the_tables_that_the_code_knows(engine: Engine):
    with engine.begin() as conn:
        command.check(database.alembic_config(conn))  # raises where they differ


def test_migrations_may_be_run_again_and_keep_what_is_there(engine: Engine, user: User):
    job = asked.job(engine, user)
    database.upgrade(engine)
    assert jobs.get(engine, job.id) == job


@pytest.mark.parametrize(
    "change",
    [
        sa.update(tables.jobs).values(status="perhaps"),
        sa.update(tables.users).values(role="king"),
        sa.update(tables.jobs).values(user_id=4711),
    ],
)
def test_the_database_itself_refuses_nonsense(engine: Engine, user: User, change: sa.Update):
    asked.job(engine, user)
    with pytest.raises(sa.exc.IntegrityError):
        database.write(engine, lambda conn: conn.execute(change))


def test_a_transaction_that_fails_leaves_nothing(engine: Engine, user: User):
    def work(conn: sa.Connection) -> None:
        conn.execute(sa.update(tables.users).values(role="admin"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(engine, work)
    assert users.get(engine, user.name) == user


def test_the_clock_is_that_of_the_world(engine: Engine):
    assert abs(database.read(engine, database.now) - time.time()) < 5


# --- SQLite ----------------------------------------------------------------------------------------------------------


def test_sqlite_readers_see_what_was_committed_while_somebody_writes(sqlite_url: str):
    engine = database.connect(sqlite_url)
    user = users.add(engine, "tendai", "password of tendai", "recruiter")

    def work(conn: sa.Connection) -> None:
        conn.execute(sa.update(tables.users).values(role="admin"))
        assert users.get(engine, "tendai") == user  # another connection: it does not wait, and sees the state before

    database.write(engine, work)
    assert users.get(engine, "tendai").admin
    engine.dispose()


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(postgres_url: str) -> Iterator[Engine]:
    "An upgraded database of the server that all tests share."
    engine = database.connect(postgres_url)
    yield engine
    engine.dispose()


def test_an_answer_that_was_lost_after_the_commit_changes_nothing(remote: Engine):
    "The connection breaks between the commit and the word of it: what is done again must not be done twice."
    user = users.add(remote, "tendai", "password of tendai", "recruiter")
    lost = []

    def break_after_commit(conn: sa.Connection) -> None:
        if not lost:
            lost.append(conn)
            driver = conn.connection.dbapi_connection
            driver.commit()
            driver.close()

    sa.event.listen(remote, "commit", break_after_commit)
    job = asked.job(remote, user)
    assert lost and [found.id for found in jobs.listed(remote, user, limit=9)] == [job.id]
    run = jobs.claim(remote, "worker", 30)
    lost.clear()
    assert run and jobs.publish(remote, run, "worker", {"files": {}})
    assert lost and jobs.get(remote, job.id).status == "successful"


def test_a_connection_that_breaks_once_is_not_noticed_and_twice_is_said(remote: Engine):
    def broken(times: int) -> int:
        "Runs of a transaction whose connection the server cuts the first few times."
        runs = []

        def work(conn: sa.Connection) -> int:
            runs.append(conn)
            if len(runs) <= times:
                conn.execute(sa.text("SELECT pg_terminate_backend(pg_backend_pid())"))
            return len(runs)

        return database.write(remote, work)

    assert broken(1) == 2
    with pytest.raises(DatabaseUnavailable, match="terminat"):
        broken(2)


def test_a_server_that_is_not_there_is_said_at_once_and_without_its_password():
    engine = database.connect(f"postgresql://root:secret@127.0.0.1:{free_ports(1)[0]}/geocrop")
    begin = time.monotonic()
    with pytest.raises(DatabaseUnavailable) as error:
        users.listed(engine)
    assert time.monotonic() - begin < 5 * database.CONNECT_S
    assert "secret" not in str(error.value)


def test_jobs_outlive_a_restart_of_the_server(servers_folder: Path):
    "Users and workers go on asking while the server goes down and comes up; each job ends, published once."
    folder, [port] = servers_folder / "restarted", free_ports(1)
    folder.mkdir()
    initialise(folder)
    engine = database.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres")
    published: list[str] = []
    away, over = threading.Event(), threading.Event()

    def patient(work):
        "What work gives, once the server answers."
        while True:
            try:
                return work()
            except DatabaseUnavailable:
                away.set()
                time.sleep(0.02)

    def ask(index: int) -> None:
        for number in range(10):
            patient(lambda key=f"{index} {number}": asked.job(engine, admin, key=key))

    def work(index: int) -> None:
        name = f"worker {index}"
        while not over.is_set():
            job = patient(lambda: jobs.claim(engine, name, 1))
            if job and patient(lambda job=job: jobs.publish(engine, job, name, {"by": name})):
                published.append(job.id)
            patient(lambda: jobs.reconcile(engine, LIMITS))

    with started(folder, port):
        database.upgrade(engine)
        admin = users.add(engine, "root", "password of root", "admin")
        crowd = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
        crowd += [threading.Thread(target=work, args=(n,)) for n in range(3)]
        for thread in crowd:
            thread.start()
        while jobs.counts(engine)["successful"] < 3:
            time.sleep(0.01)
    assert away.wait(60)
    with started(folder, port):
        end = time.monotonic() + 60
        while patient(lambda: jobs.counts(engine))["successful"] < 30 and time.monotonic() < end:
            time.sleep(0.02)
        over.set()
        for thread in crowd:
            thread.join(60)
        assert jobs.counts(engine) == {"accepted": 0, "running": 0, "successful": 30, "failed": 0, "dismissed": 0}
        assert len(published) == len(set(published)) == 30
        engine.dispose()

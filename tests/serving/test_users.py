"Who may come in: names, passwords, and what an unknown name gives away."

import time

import pytest
from pwdlib import PasswordHash
from sqlalchemy import Engine

from serving.jobs import database, users
from serving.jobs.errors import UserRefused
from serving.jobs.users import User


def test_a_user_comes_in_with_the_password_only(engine: Engine):
    user = users.add(engine, "tendai", "correct horse", "recruiter")
    assert users.verify(engine, "tendai", "correct horse") == users.get(engine, "tendai") == user
    assert (user.name, user.role, user.admin) == ("tendai", "recruiter", False)
    for name, password in (("tendai", "correct hors"), ("tendai", ""), ("rudo", "correct horse"), ("", "")):
        assert users.verify(engine, name, password) is None


@pytest.mark.parametrize("name", ["a\0b", "' OR 1=1 --", "x" * 10_000, "TENDAI", "\udc80"])
def test_a_name_that_nobody_can_have_is_nobody(engine: Engine, user: User, name: str):
    assert users.verify(engine, name, "correct horse") is None
    assert users.get(engine, name) is None


def test_users_are_listed_by_name(engine: Engine):
    added = [users.add(engine, name, "correct horse", "admin") for name in ("rudo", "chipo")]
    assert users.listed(engine) == added[::-1]


@pytest.mark.parametrize(
    ("name", "password", "role"),
    [
        ("tendai", "another one", "admin"),  # taken
        ("Tendai", "correct horse", "admin"),
        ("", "correct horse", "admin"),
        ("-rf", "correct horse", "admin"),
        ("rudo", "short", "admin"),
        ("rudo", "x" * 1025, "admin"),
        ("rudo", "correct horse", "king"),
    ],
)
def test_what_will_not_do_is_refused_and_nothing_added(engine: Engine, user: User, name: str, password: str, role: str):
    with pytest.raises(UserRefused) as error:
        users.add(engine, name, password, role)
    assert password not in str(error.value)
    assert users.listed(engine) == [user]


def test_a_password_that_only_begins_right_is_wrong(engine: Engine):
    users.add(engine, "rudo", "x" * 1024, "admin")
    assert users.verify(engine, "rudo", "x" * 1024)
    assert users.verify(engine, "rudo", "x" * 1025) is None


def test_passwords_are_kept_as_argon2_in_earnest(sqlite_url: str, monkeypatch: pytest.MonkeyPatch):
    "The other tests hash cheaply. An unknown name is answered no sooner than a wrong password."
    monkeypatch.setattr(users, "HASHER", PasswordHash.recommended())
    monkeypatch.setattr(users, "_NOBODY", "")
    engine = database.connect(sqlite_url)
    assert users.HASHER.hash("correct horse").startswith("$argon2id$v=19$m=65536,t=3,")
    users.add(engine, "tendai", "correct horse", "recruiter")

    def quickest(name: str) -> float:
        def one() -> float:
            begin = time.process_time()
            assert users.verify(engine, name, "wrong") is None
            return time.process_time() - begin

        return min(one() for _ in range(4))

    quickest("nobody")  # the first makes the hash that it is compared with
    assert 0.5 < quickest("nobody") / quickest("tendai") < 2
    engine.dispose()

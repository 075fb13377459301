"Who may ask for jobs, and how many of them."

import re
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pwdlib import PasswordHash

from . import database
from .database import clock
from .errors import UserRefused
from .tables import ROLES, jobs, users

HASHER = PasswordHash.recommended()  # argon2id; 64 MiB and about 0.1 s a hash: callers bound how many run at once
NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
PASSWORD = (8, 1024)  # characters, at least and at most
COLUMNS = (users.c.id, users.c.name, users.c.role)
IDLE = sa.and_(jobs.c.status == "dismissed", jobs.c.started.is_(None))
COUNTED = (  # the jobs of a user that count
    sa.select(sa.func.count())
    .where(jobs.c.user_id == sa.bindparam("user_id"), jobs.c.status != "failed", sa.not_(IDLE))
    .scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class User:
    "Somebody who has proved who they are."

    id: int
    name: str
    role: str  # admin or recruiter

    @property
    def admin(self) -> bool:
        "Whether all jobs are theirs to see, and as many as they like to ask for."
        return self.role == "admin"


def add(
    engine: sa.Engine,
    name: str,  # 1 to 64 lower case letters, digits, . _ @ -
    password: str,  # 8 characters or more
    role: str,  # admin or recruiter
) -> User:
    "A new user. UserRefused where the name is taken, or one of the three will not do."
    _check(name, password, role)
    row = {"name": name, "password_hash": HASHER.hash(password), "role": role, "created": clock()}
    try:
        return database.write(
            engine, lambda conn: User(*conn.execute(sa.insert(users).values(row).returning(*COLUMNS)).one())
        )
    except sa.exc.IntegrityError:
        raise UserRefused(
            f"User {name}", found="one of this name", expected="a free name", remedy="Choose another name."
        ) from None


def _check(name: str, password: str, role: str) -> None:
    if not NAME.fullmatch(name):
        raise UserRefused(
            "Name of a user",
            found=repr(name[:100]),
            expected="1 to 64 lower case letters, digits, . _ @ -",
            remedy="Choose another name.",
        )
    if not PASSWORD[0] <= len(password) <= PASSWORD[1]:
        raise UserRefused(
            f"Password of {name}",
            found=f"{len(password)} characters",
            expected=f"{PASSWORD[0]} to {PASSWORD[1]}",
            remedy="Choose another password.",
        )
    if role not in ROLES:
        raise UserRefused(f"Role of {name}", found=repr(role), expected=" or ".join(ROLES), remedy="Choose one.")


_NOBODY = ""  # hash that an unknown name's password is compared with


def verify(
    engine: sa.Engine,
    name: str,
    password: str,
) -> User | None:  # None: no such user, or not this password
    "Who this is. An unknown name takes as long as a wrong password."
    global _NOBODY
    _NOBODY = _NOBODY or HASHER.hash("nobody has this password")
    row = _row(engine, name, users.c.password_hash, *COLUMNS)
    right = HASHER.verify(password[: PASSWORD[1]], row[0] if row else _NOBODY)
    return User(*row[1:]) if row and right and len(password) <= PASSWORD[1] else None


def get(
    engine: sa.Engine,
    name: str,
) -> User | None:  # None: no such user
    "A user as of now, for a token that was given earlier."
    row = _row(engine, name, *COLUMNS)
    return User(*row) if row else None


def _row(engine: sa.Engine, name: str, *columns: sa.Column[Any]) -> sa.Row[*tuple[Any, ...]] | None:
    if not NAME.fullmatch(name):
        return None
    query = sa.select(*columns).where(users.c.name == name)
    return database.read(engine, lambda conn: conn.execute(query).one_or_none())


def listed(engine: sa.Engine) -> list[User]:
    "All users, by name."
    query = sa.select(*COLUMNS).order_by(users.c.name)
    return [User(*row) for row in database.read(engine, lambda conn: conn.execute(query).all())]


def used(
    conn: sa.Connection,
    user: User,
) -> int:
    "Jobs of a user that count: all but those that failed, and those dismissed before they started."
    return conn.scalar(sa.select(COUNTED), {"user_id": user.id}) or 0

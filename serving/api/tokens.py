"""Who may come in: passwords become tokens (JWT), tokens become users.

A token says who somebody was when it was given. Whether there still is such a user, and in which role, the database
says, at most `FRESH_S` ago.
"""

import asyncio
import os
import secrets
import time
from pathlib import Path
from weakref import WeakValueDictionary

import anyio
import jwt
from cachetools import TTLCache
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool

from geocrop.schema import SettingsError
from geocrop.settings import Api
from serving.jobs import users
from serving.jobs.users import User

from .errors import Busy, NotAllowed, TooManyTries

ALGORITHM, AUDIENCE = "HS256", "geocrop"
TOKEN_S = 12 * 3600  # life of a token
LEEWAY_S = 2  # by which the clocks of two processes may differ
FRESH_S = 2.0  # how long a user who was removed may still be let in
HASHES, WAITING = 2, 16  # passwords looked at at once, 64 MiB each; those that wait for it
KNOWN = 4096  # tokens remembered
SECRET_BYTES = 32
PLACEHOLDERS = ("change", "secret", "password", "default", "example", "insecure")


def secret(
    api: Api,
    home: Path,  # Project folder, where the embedded service keeps its own
) -> bytes:
    "The key of the tokens. SettingsError where it is missing, short or one that others know."
    stated = api.secret.encode()
    if not stated and api.embedded:
        return _kept(home / "service.key")
    known = any(word in api.secret.lower() for word in PLACEHOLDERS) or len(set(stated)) < SECRET_BYTES // 4
    if len(stated) < SECRET_BYTES or known:
        raise SettingsError(
            "settings.ini [api], secret",
            found="no secret" if not stated else f"{len(stated)} bytes" + (", of a pattern" if known else ""),
            expected=f"{SECRET_BYTES} random bytes or more",
            remedy="Set GEOCROP_API_SECRET to what this prints: python -c 'import secrets; print(secrets.token_hex())'",
        )
    return stated


def _kept(path: Path) -> bytes:
    "The secret of a machine, made at its first start; two processes that start at once agree on one."
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not path.exists():
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(SECRET_BYTES))
            os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
    found = path.read_text().strip().encode()
    if len(found) < SECRET_BYTES:
        raise SettingsError(
            str(path),
            found=f"{len(found)} bytes",
            expected=f"{SECRET_BYTES} or more",
            remedy="Remove it; all sign in anew.",
        )
    return found


def not_allowed(found: str) -> NotAllowed:
    "Why somebody has to sign in (again)."
    return NotAllowed("Token", found=found, expected="one of this service", remedy="Sign in at /auth/token.")


class Door:
    "Lets users in by password, and then by token."

    def __init__(self, engine: Engine, secret: bytes):
        self._engine, self._secret = engine, secret
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._known: TTLCache[str, tuple[User, float]] = TTLCache(KNOWN, FRESH_S)
        self._hashing, self._inside, self._tries = anyio.CapacityLimiter(HASHES), 0, Tries()

    async def sign_in(
        self,
        name: str,
        password: str,
        address: str,  # Of the client
    ) -> User:
        "The user of this name and password. NotAllowed, TooManyTries, Busy."
        self._tries.check(name, address)
        if self._inside >= HASHES + WAITING:
            raise Busy("Sign-in", found=f"{WAITING} that wait", expected="fewer", remedy="Try again in a second.")
        self._inside += 1
        try:
            nobody_or_name = name if users.NAME.fullmatch(name) else ""  # takes as long as any other
            user = await anyio.to_thread.run_sync(
                users.verify, self._engine, nobody_or_name, password, limiter=self._hashing
            )
        finally:
            self._inside -= 1
        if user is None:
            self._tries.failed(name, address)
            raise NotAllowed(
                "Name and password",
                found="no user of both",
                expected="those that an administrator gave you",
                remedy="Check both; `geocrop users` adds a user.",
            )
        return user

    def token(self, user: User) -> str:
        "A token for a user who has just signed in."
        now = int(time.time())
        claims = {"sub": user.name, "aud": AUDIENCE, "iat": now, "exp": now + TOKEN_S}
        return jwt.encode(claims, self._secret, ALGORITHM)

    async def user(
        self,
        token: str | None,
    ) -> User:
        "Whose token this is. NotAllowed where it does not hold, or its user is no more."
        if not token:
            raise not_allowed("none")
        user, until = self._known.get(token, (None, 0.0))
        if user is not None and time.time() < until:
            return user
        name, until = self._read(token)
        lock = self._asking.setdefault(token, asyncio.Lock())
        async with lock:  # of many requests with one token, one asks, and the others know then
            user, _ = self._known.get(token, (None, 0.0))
            user = user or await run_in_threadpool(users.get, self._engine, name)
            if user is None:
                raise not_allowed("one of a user who is no more")
            self._known[token] = user, until
        return user

    def _read(self, token: str) -> tuple[str, float]:
        try:
            claims = jwt.decode(
                token, self._secret, algorithms=[ALGORITHM], audience=AUDIENCE, leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "sub", "aud"]},
            )  # fmt: skip
            return claims["sub"], float(claims["exp"])
        except jwt.ExpiredSignatureError:
            raise not_allowed("one that has expired") from None
        except (jwt.InvalidTokenError, ValueError):
            raise not_allowed("one that this service did not give") from None


TRIES_S = 300  # within which wrong passwords are counted
REMEMBERED = 10_000  # names and addresses
AT_ONCE, OF_NAME, OF_ADDRESS = 5, 100, 50  # wrong passwords: of a name from one address, of a name, from an address


class Tries:
    "Wrong passwords lately, by name, by address, and by both. The oldest are forgotten where there are too many."

    def __init__(self) -> None:
        self._failed: TTLCache[tuple[str, str], tuple[int, float]] = TTLCache(REMEMBERED, TRIES_S)

    def check(self, name: str, address: str) -> None:
        "TooManyTries where no further password is looked at for a while."
        for key, most in _keys(name, address).items():
            count, first = self._failed.get(key, (0, 0.0))
            if count >= most:
                wait_s = max(1, round(first + TRIES_S - time.monotonic()))
                raise TooManyTries(
                    "Sign-in",
                    found=f"{count} wrong passwords within {TRIES_S} s",
                    expected=f"fewer than {most}",
                    remedy=f"Wait {wait_s} s.",
                    retry_after_s=wait_s,
                )

    def failed(self, name: str, address: str) -> None:
        "Count a wrong password."
        for key in _keys(name, address):
            count, first = self._failed.get(key, (0, time.monotonic()))
            self._failed[key] = count + 1, first


def _keys(name: str, address: str) -> dict[tuple[str, str], int]:
    return {(name, address): AT_ONCE, (name, ""): OF_NAME, ("", address): OF_ADDRESS}

"What can go wrong with jobs, by kind: whoever answers a client maps each class to a status."

from typing import Any

from geocrop.schema import GeocropError


class JobNotFound(GeocropError):
    "No job of this id, or one of somebody else."


class JobEnded(GeocropError):
    "A job that has come to its end, where one was needed that has not."


class QuotaExceeded(GeocropError):
    "A user who has had all the jobs that the role allows."


class QueueFull(GeocropError):
    "More jobs wait than the service takes on."

    retry_after_s: int = 60  # When it is worth asking again


class KeyReused(GeocropError):
    "An idempotency key that has come before, with another request."


class AttemptLost(GeocropError):
    "An attempt that came to nothing through no fault of the job: its worker is gone, or the store is away."


class UserRefused(GeocropError):
    "A user that cannot be added: a name that is taken or not allowed, a password that is too short, an unknown role."


class DatabaseUnavailable(GeocropError):
    "A database that does not answer. Nothing has been changed, or what has been changed is the whole of it."


def described(
    error: Exception,  # What ended an attempt
) -> dict[str, Any]:  # kind, thing, found, expected, remedy: text
    "An error as `jobs.fail` and `jobs.retry` keep it. Of an error that is not ours nothing but its kind is told."
    kind = type(error).__name__
    if not isinstance(error, GeocropError):
        error = GeocropError(
            "The job",
            found=f"an unforeseen {kind}",
            expected="a map",
            remedy="Its log says more: tell whoever runs it.",
        )
    parts = {name: str(getattr(error, name)) for name in ("thing", "found", "expected", "remedy")}
    return {"kind": kind, **parts}

"Pages of lists: cursors that mean nothing to whoever gets them, and the link to the next page."

import base64
import binascii
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query

from geocrop.schema import SchemaError

Limit = Annotated[int, Query(ge=1, le=100, description="Most entries of a page")]
After = Annotated[str | None, Query(max_length=64, description="Cursor of a `next` link")]


def cursor(job_id: str) -> str:
    "Where the next page begins, after a job."
    return base64.urlsafe_b64encode(bytes.fromhex(job_id)).decode().rstrip("=")


def job_id(
    cursor: str | None,  # None: the first page
) -> str | None:
    "The job behind a cursor. SchemaError where it is none of ours."
    if cursor is None:
        return None
    try:
        found = base64.b64decode(cursor + "==", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != 16:
        raise SchemaError(
            "Cursor",
            found=repr(cursor[:40]),
            expected="that of a `next` link",
            remedy="Follow the links of the first page.",
        )
    return found.hex()


def address(path: str, **query: object) -> str:
    "A path with those parameters of a query that have a value."
    return f"{path}?{urlencode({key: value for key, value in query.items() if value is not None})}"

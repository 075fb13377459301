"Responses that several routes give."

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import JSONResponse, Response


class Json(JSONResponse):
    "A dictionary as JSON, written as it is without passing through a model. NaN and infinity go out as null."

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        "The bytes of the body."
        return orjson.dumps(content)


class GeoJson(Json):
    "GeoJSON: items and collections of items."

    media_type = "application/geo+json"


def not_modified(
    if_none_match: str | None,  # What the client has, of its request
    headers: Mapping[str, str],  # Of the answer, ETag among them
) -> Response | None:  # None: the client has something else
    "304, where the client has what it would be sent."
    if if_none_match is None:
        return None
    known = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    if "*" in known or headers["ETag"].removeprefix("W/") in known:
        return Response(status_code=304, headers=dict(headers))
    return None

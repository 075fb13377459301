"Bodies that are too large are refused: before they are read where they say so, while they are read where they do not."

from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import problem

WITHOUT = ("GET", "HEAD", "OPTIONS")  # methods whose body nobody reads


class Bounded:
    "Limits the bytes of a request's body. The framework's own limit answers in plain text."

    def __init__(
        self,
        app: ASGIApp,
        most: int,
        more: Mapping[str, int],  # Of some paths
    ):
        self._app, self._most, self._more = app, most, more

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        "Pass a request on."
        if scope["type"] != "http" or scope["method"] in WITHOUT:
            return await self._app(scope, receive, send)
        most, total = self._more.get(scope["path"], self._most), 0
        stated = Headers(scope=scope).get("content-length", "0")
        if not stated.isdecimal() or int(stated) > most:
            refused = problem(413, "Too large", f"The body may have {most} bytes.", headers={"Connection": "close"})
            return await refused(scope, receive, send)

        async def received() -> Message:
            nonlocal total
            message = await receive()
            total += len(message.get("body", b""))
            if total > most:
                raise HTTPException(413, f"The body may have {most} bytes.")
            return message

        await self._app(scope, received, send)

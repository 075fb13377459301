"""The page: built assets of `serving/web/dist`, kept in memory, under a policy that lets in nothing from elsewhere.

`/` is the page for browsers and the landing page of the API for everybody else.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, Request
from starlette.responses import Response

import serving

from . import processes
from .baselines import IfNoneMatch
from .errors import NotFound
from .replies import Json, not_modified

router = APIRouter(tags=["page"])
DIST = Path(serving.__file__).parent / "web" / "dist"
INDEX = "index.html"
SECURE = {"Permissions-Policy": "camera=(), microphone=()", "X-Frame-Options": "DENY"}
FOREVER, ANEW = "public, max-age=31536000, immutable", "no-cache"
PACKED = ("text/", "application/javascript", "application/json", "image/svg")


def policy(
    basemap: str,  # Template of the tiles behind the map, empty where there are none
) -> str:
    "What the page may load: ours, and pictures of the one host that whoever runs the service has named."
    tiles = urlsplit(basemap)
    return "; ".join(
        (
            "default-src 'self'",
            # data, blob: tiles that were fetched with a token
            "img-src 'self' data: blob:" + (f" {tiles.scheme}://{tiles.netloc}" if basemap else ""),
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


@dataclass(frozen=True)
class Asset:
    "A file of the page."

    content: bytes
    media: str

    @cached_property
    def etag(self) -> str:
        "Its identity."
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    @cached_property
    def packed(self) -> bytes | None:
        "It, in gzip; None where that is no use. The same bytes each time."
        return gzip.compress(self.content, mtime=0) if self.media.startswith(PACKED) else None


class Pages:
    "The built page, as it was when the process started. A name is looked up, never joined to a path."

    def __init__(
        self,
        folder: Path = DIST,
        basemap: str = "",  # As in `policy`
    ):
        self.secure = SECURE | {"Content-Security-Policy": policy(basemap)}
        files = sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
        self.assets = {
            path.relative_to(folder).as_posix(): Asset(
                path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            )
            for path in files
        }

    def reply(
        self,
        name: str,  # index.html, assets/index-4f2a.js
        if_none_match: str | None,
        accept_encoding: str | None,
    ) -> Response:
        "A file of the page. NotFound."
        asset = self.assets.get(name)
        if asset is None:
            raise NotFound(
                f"Page {name[:60]!r}",
                found="no such file" if self.assets else "no page: it has not been built",
                expected="a file of serving/web/dist",
                remedy="The API is there without it, see /openapi.json." if not self.assets else "Begin at /.",
            )
        unchanging = name.startswith("assets/")  # their names hold a hash
        headers = self.secure | {
            "ETag": asset.etag,
            "Cache-Control": FOREVER if unchanging else ANEW,
            "Vary": "Accept-Encoding",
        }
        if name == INDEX:
            headers["Vary"] = "Accept, Accept-Encoding"
        if unchanged := not_modified(if_none_match, headers):
            return unchanged
        if asset.packed is not None and "gzip" in (accept_encoding or ""):
            return Response(asset.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=asset.media)
        return Response(asset.content, headers=headers, media_type=asset.media)


AcceptEncoding = Annotated[str | None, Header(max_length=200, include_in_schema=False)]


@router.get("/", tags=["processes"], summary="Landing page")
async def root(
    request: Request,
    accept: Annotated[str, Header(max_length=1000, include_in_schema=False)] = "",
    accept_encoding: AcceptEncoding = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    "Links to everything; for a browser, the map."
    pages: Pages = request.app.state.pages
    if INDEX in pages.assets and "text/html" in accept:
        return pages.reply(INDEX, if_none_match, accept_encoding)
    stac = {"href": "/stac", "rel": "alternate", "type": "application/json", "title": "Results as STAC"}
    return Json(processes.landing([stac]), headers={"Vary": "Accept", "Cache-Control": ANEW})


@router.get("/assets/{name:path}", include_in_schema=False)
@router.get("/{name}.{suffix}", include_in_schema=False)  # favicon.svg, robots.txt
async def asset(
    request: Request, accept_encoding: AcceptEncoding = None, if_none_match: IfNoneMatch = None
) -> Response:
    "A file of the page."
    pages: Pages = request.app.state.pages
    return pages.reply(request.url.path.removeprefix("/"), if_none_match, accept_encoding)

"Signing in: POST /auth/token, GET /auth/me; and the user that every other route asks for."

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, Request
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from serving.jobs import database, users
from serving.jobs.users import User

from .problems import documented
from .replies import Json
from .service import Here
from .tokens import TOKEN_S

router = APIRouter(tags=["users"])
bearer = OAuth2PasswordBearer("/auth/token", auto_error=False, description="A token of POST /auth/token")


async def signed_in(request: Request, token: Annotated[str | None, Depends(bearer)]) -> User:
    "Whoever asks. NotAllowed."
    return await request.app.state.service.door.user(token)


SignedIn = Annotated[User, Depends(signed_in)]


class Login(BaseModel):
    "OAuth 2 password form."

    # the password is an example's (B105), as is the kind of token below
    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"username": "ada", "password": "…"}})  # nosec B105
    username: Annotated[str, Field(max_length=64)]
    password: Annotated[str, Field(max_length=1024)]
    grant_type: Literal["password"] = "password"
    scope: Annotated[str, Field(max_length=100, description="Not used")] = ""
    client_id: Annotated[str, Field(max_length=100, description="Not used")] = ""
    client_secret: Annotated[str, Field(max_length=100, description="Not used")] = ""


class Token(BaseModel):
    "A token, to be sent as `Authorization: Bearer ...`."

    access_token: str
    token_type: Literal["bearer"]
    expires_in: Annotated[int, Field(description="Seconds")]
    role: Literal["admin", "recruiter"]


class Me(BaseModel):
    "Whoever asks."

    name: str
    role: Literal["admin", "recruiter"]
    jobs_used: Annotated[int, Field(description="Jobs that count")]
    jobs_allowed: Annotated[int | None, Field(description="null: as many as wanted")]


@router.post("/auth/token", response_model=Token, responses=documented(400, 401, 413, 422, 429, 503), summary="Sign in")
async def token(request: Request, here: Here, login: Annotated[Login, Form()]) -> Response:
    "A name and a password become a token."
    address = request.client.host if request.client else ""
    user = await here.door.sign_in(login.username, login.password, address)
    page = {"access_token": here.door.token(user), "token_type": "bearer", "expires_in": TOKEN_S, "role": user.role}  # nosec B105
    return Json(page, headers={"Cache-Control": "no-store"})


@router.get("/auth/me", response_model=Me, responses=documented(401, 503), summary="Who am I?")
def me(here: Here, user: SignedIn) -> Response:
    "Name, role, and how many jobs are left."
    used = database.read(here.engine, lambda conn: users.used(conn, user))
    allowed = None if user.admin else here.limits.recruiter_jobs
    return Json({"name": user.name, "role": user.role, "jobs_used": used, "jobs_allowed": allowed})

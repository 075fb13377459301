"The least that a submission can be: FastAPI, a token, a row in the database, a call through Redis."

import os
import uuid
from typing import Annotated, Any

import jwt
import sqlalchemy as sa
from fastapi import FastAPI, Header
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

SECRET = os.environ["GEOCROP_API_SECRET"]
URL = sa.make_url(os.environ["GEOCROP_DATABASE_URL"]).set(drivername="postgresql+psycopg")
engine = sa.create_engine(URL, pool_size=40)
table = sa.Table(
    "bare", sa.MetaData(), sa.Column("id", sa.String, primary_key=True), sa.Column("name", sa.String),
    sa.Column("inputs", sa.JSON),
)  # fmt: skip
table.create(engine, checkfirst=True)
queue = Queue("bare", connection=Redis.from_url(os.environ["GEOCROP_REDIS_URL"]), serializer=JSONSerializer)
app = FastAPI()


@app.post("/processes/crop-map/execution", status_code=201)
def submit(body: dict[str, Any], authorization: Annotated[str, Header()]) -> dict[str, str]:
    claims = jwt.decode(authorization.removeprefix("Bearer "), SECRET, algorithms=["HS256"], audience="geocrop")
    id = uuid.uuid4().hex
    with engine.begin() as conn:
        conn.execute(sa.insert(table).values(id=id, name=claims["sub"], inputs=body["inputs"]))
    queue.enqueue_call("serving.worker.wake.run", args=(id,), result_ttl=0)
    return {"jobID": id, "status": "accepted"}

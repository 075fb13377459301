"The least that tiles can be: TiTiler, as its documentation begins."

from fastapi import FastAPI
from titiler.core.factory import TilerFactory

app = FastAPI()
app.include_router(TilerFactory().router)

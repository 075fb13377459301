"The least that a status can be: FastAPI, and a constant."

from typing import Any

from fastapi import FastAPI

app = FastAPI()
STATUS = {
    "type": "process", "processID": "crop-map", "jobID": "0" * 32, "status": "accepted", "progress": 0, "message": "",
    "created": "2023-06-01T00:00:00.000Z", "started": None, "finished": None, "updated": "2023-06-01T00:00:00.000Z",
    "attempt": 0, "model": {"name": "zimbabwe_embedded", "version": "1"},
    "inputs": {"aoi": [31.06, -17.84, 100.0], "year": 2022, "model": "champion"},
    "area": {"type": "Polygon", "coordinates": [[[31.06, -17.84]] * 33]},
    "links": [{"href": "/jobs/" + "0" * 32, "rel": "self", "type": "application/json"}],
}  # fmt: skip


@app.get("/jobs/{id}")
async def status(id: str) -> dict[str, Any]:
    return STATUS

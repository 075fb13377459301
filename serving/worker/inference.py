"Rows of features in, classes and probabilities out: the Open Inference Protocol, version 2, of one model."

import math
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geocrop.ensemble import most_likely
from geocrop.mapping import MapModel
from geocrop.schema import FEATURE_ORDER_V1, SchemaError
from serving.jobs.models import Model

NAME = "geocrop"  # in the addresses, whatever the champion is called
MOST_ROWS = 10_000
TYPES = ("FP32", "FP64")  # of the rows; both are numbers of JSON


def server() -> dict[str, Any]:
    "What the server says of itself."
    return {"name": NAME, "version": version("geocrop"), "extensions": []}


def metadata(model: Model, ready: MapModel) -> dict[str, Any]:
    "What a model takes and gives."
    legend = ready.model.legend
    outputs = [("class", "INT64", [-1]), ("probability", "FP32", [-1, len(legend.ids)])]
    return {
        "name": NAME,
        "versions": [model.version],
        "platform": "geocrop_ensemble",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, len(FEATURE_ORDER_V1)]}],
        "outputs": [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in outputs],
        "parameters": {
            "features": list(FEATURE_ORDER_V1), "classes": legend.rows(), "sha256": model.sha256, "model": model.name,
        },
    }  # fmt: skip


def infer(
    model: Model,
    ready: MapModel,
    page: Any,
    tell: Callable[[list[int], list[float], dict[int, str]], None],  # Called with classes, confidences, names
) -> dict[str, Any]:
    "Class (255: a row without any feature) and probabilities of rows. SchemaError for what is no request."
    rows, legend = _rows(page), ready.model.legend
    probability = ready.forest.predict_proba(rows)
    classes = most_likely(probability, legend.ids).astype(np.int64)
    known = probability[~np.isnan(probability[:, 0])].max(axis=1, initial=0)
    tell(classes.tolist(), known.tolist(), dict(zip(legend.ids, legend.names, strict=True)))
    outputs = (("class", "INT64", classes), ("probability", "FP32", probability))
    wanted = {one["name"] for one in page.get("outputs") or () if isinstance(one, Mapping) and "name" in one}
    return {
        "model_name": NAME,
        "model_version": model.version,
        **({"id": str(page["id"])} if "id" in page else {}),
        "outputs": [
            {"name": name, "datatype": kind, "shape": list(values.shape), "data": values.ravel()}
            for name, kind, values in outputs
            if not wanted or name in wanted
        ],
    }


def _wrong(thing: str, found: object, expected: str) -> SchemaError:
    return SchemaError(thing, found=str(found)[:200], expected=expected, remedy=f"See /v2/models/{NAME}.")


def _rows(page: Any) -> NDArray[np.float32]:
    "The rows of a request, shape (n, 51); what is missing is null, and NaN here."
    width = len(FEATURE_ORDER_V1)
    inputs = page.get("inputs") if isinstance(page, Mapping) else None
    tensor = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else None
    if not isinstance(tensor, Mapping):
        raise _wrong("Inputs", type(inputs).__name__, "a list of one tensor, features")
    if tensor.get("name") != "features" or tensor.get("datatype") not in TYPES:
        raise _wrong("Tensor", f"{tensor.get('name')!r}, {tensor.get('datatype')!r}", f"'features', {TYPES[0]}")
    shape, data = tensor.get("shape"), tensor.get("data")
    n = shape[0] if isinstance(shape, list) and len(shape) == 2 and shape[1] == width else None
    if type(n) is not int or not 1 <= n <= MOST_ROWS:
        raise _wrong("Shape of features", shape, f"[n, {width}], n from 1 to {MOST_ROWS}")
    if not isinstance(data, list):
        raise _wrong("Data of features", type(data).__name__, "a list of numbers")
    flat = [value for row in data for value in row] if data and all(isinstance(row, list) for row in data) else data
    if len(flat) != n * width:
        raise _wrong("Data of features", f"{len(flat)} numbers", f"{n} x {width}")
    if not all(value is None or type(value) in (int, float) for value in flat):
        raise _wrong("Data of features", "something that is no number", "numbers, and null for what is missing")
    values = np.array([math.nan if value is None else value for value in flat], np.float64)
    if (np.abs(values) > np.finfo(np.float32).max).any():
        raise _wrong("Data of features", "a number that is infinite or too large", "numbers that fit into 32 bits")
    return values.astype(np.float32).reshape(n, width)

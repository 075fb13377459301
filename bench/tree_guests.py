"""Other engines for the same trees, run by the Python of bench/.venv.

    tree_guests.py ENGINE FOLDER ROWS.npy FOUND.npz THREADS

Reads the bundle in FOLDER (and catboost.onnx beside it), then predicts once for each line on standard input and answers
with its own seconds. FOUND.npz holds the probabilities by library, of those that the engine can read.
"""

import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
Predict = Callable[[np.ndarray], np.ndarray]


def treelite_models(folder: Path) -> dict[str, object]:
    import treelite

    return {
        "xgboost": treelite.frontend.load_xgboost_model(folder / "xgboost.ubj"),
        "lightgbm": treelite.frontend.load_lightgbm_model(folder / "lightgbm.txt"),
    }


def treelite(folder: Path, threads: int) -> dict[str, Predict]:
    from treelite import gtil

    def of(model: object) -> Predict:
        return lambda X: gtil.predict(model, X, nthread=threads).reshape(len(X), -1)

    return {name: of(model) for name, model in treelite_models(folder).items()}


def tl2cgen(folder: Path, threads: int) -> dict[str, Predict]:
    import tl2cgen

    def of(name: str, model: object) -> Predict:
        library = folder / f"{name}.so"
        if not library.exists():
            tl2cgen.export_lib(
                model, toolchain="gcc", libpath=library, params={"parallel_comp": 32}, nthread=os.cpu_count()
            )
        predictor = tl2cgen.Predictor(library, nthread=threads)
        return lambda X: predictor.predict(tl2cgen.DMatrix(X)).reshape(len(X), -1)

    return {name: of(name, model) for name, model in treelite_models(folder).items()}


def onnxruntime(folder: Path, threads: int) -> dict[str, Predict]:
    import lightgbm
    import onnx
    import onnxruntime
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = xgboost.Booster(model_file=folder / "xgboost.ubj")
    inputs = [("rows", FloatTensorType([None, booster.num_features()]))]
    booster.feature_names = None
    trees = lightgbm.Booster(model_file=folder / "lightgbm.txt")
    catboost = onnx.load(folder / "catboost.onnx")
    for node in [node for node in catboost.graph.node if node.op_type == "ZipMap"]:  # a dictionary for each row
        catboost.graph.node.remove(node)
        probabilities = onnx.helper.make_tensor_value_info(node.input[0], onnx.TensorProto.FLOAT, None)
        catboost.graph.output.pop()
        catboost.graph.output.append(probabilities)
    converted = {
        "xgboost": lambda: convert_xgboost(booster, initial_types=inputs),
        "lightgbm": lambda: convert_lightgbm(trees, initial_types=inputs, zipmap=False),
        "catboost": lambda: catboost,
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads

    def of(model: object) -> Predict:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        rows, output = session.get_inputs()[0].name, session.get_outputs()[-1].name
        return lambda X: session.run([output], {rows: X})[0]

    return {name: of(convert()) for name, convert in converted.items()}


def main() -> None:
    engine, folder, rows, found, threads = sys.argv[1:]
    X = np.load(rows)
    predict = {"treelite": treelite, "tl2cgen": tl2cgen, "onnxruntime": onnxruntime}[engine](Path(folder), int(threads))
    np.savez(found, **{name: of_library(X) for name, of_library in predict.items()})
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for of_library in predict.values():
            of_library(X)
        print(time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()

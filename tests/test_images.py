"The images of the service as far as they can be had without an engine: steps, contents, and what they do together."

from pathlib import Path

from serving.images import exercise
from serving.images.dockerfile import images

ROOT = Path(__file__).parents[1]


def test_what_the_dockerfile_says_is_read():
    found = images((ROOT / "serving/images/Dockerfile").read_text())
    assert found["api"].command == ("python", "-m", "serving.api")
    assert found["api"].env["GEOCROP_API_EMBEDDED"] == "no" and "NUMBA_CACHE_DIR" not in found["api"].env
    assert found["worker"].env["NUMBA_CACHE_LOCATOR_CLASSES"] == "serving.worker.kernels.Baked"  # of the stage below
    assert found["worker"].run == (("python", "-m", "serving.worker.bake"),) and not found["api"].run


def test_the_images_of_the_service_install_start_and_work_together():
    "All of it in one: what takes long is to install and to compile."
    found = exercise.exercise()
    assert found["api"]["megabytes"] < found["worker"]["megabytes"] / 2

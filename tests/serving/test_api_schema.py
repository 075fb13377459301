"The OpenAPI document: complete, and what the service does, as far as schemathesis finds out."

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.api import problems


@pytest.fixture(scope="module")
def document(site: Any) -> dict[str, Any]:
    return httpx.get(f"{site.live.url}/openapi.json").json()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, about) for path, item in document["paths"].items() for method, about in item.items()]


def test_every_body_has_an_example_and_every_problem_its_shape(document: dict[str, Any]):
    for method, path, about in operations(document):
        assert about["summary"] and about["description"], (method, path)
        for content in about.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            if "$ref" in schema:
                schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            assert "example" in schema or "examples" in schema, (method, path)
        for status, answer in about["responses"].items():
            if status[0] in "45":
                assert set(answer["content"]) == {problems.MEDIA}, (method, path, status)
        private = "security" in about
        assert private == ("401" in about["responses"]) or path == "/auth/token", (method, path)
    assert document["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status"]


def test_each_operation_has_a_name_of_its_own(document: dict[str, Any]):
    names = [about["operationId"] for _, _, about in operations(document)]
    assert len(set(names)) == len(names) > 35


@pytest.mark.parametrize("known", [False, True], ids=["strange", "known"])
def test_schemathesis_finds_nothing(site: Any, tmp_path: Path, known: bool):
    "A thousand requests of a program that reads nothing but the document; good ones of a job that there is as well."
    if known:
        names = {"id": site.job.id, "name": "map.tif", "process": "crop-map", "collection": "crop-maps"}
        lines = [f'"path.{name}" = "{value}"' for name, value in names.items()]
        (tmp_path / "schemathesis.toml").write_text("\n".join(["[parameters]", *lines]))
    command = [
        Path(sys.executable).with_name("schemathesis"), "run", f"{site.live.url}/openapi.json",
        "--header", f"Authorization: {site.headers['Authorization']}", "--phases", "examples,coverage,fuzzing",
        "--max-examples", "3", "--generation-deterministic", "--no-shrink", "--no-color", "--warnings", "off",
        "--mode", "positive" if known else "all",
        "--exclude-path-regex", "/events$|/infer$",  # a stream that ends with its job; rows that the other side checks
        # A polygon that crosses itself, or a season that has not ended, has the shape of a good request.
        "--exclude-checks", "positive_data_acceptance",
    ]  # fmt: skip
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout[-8000:]
    generated = re.search(r"(\d+) generated", ran.stdout)
    assert generated and int(generated[1]) > 100

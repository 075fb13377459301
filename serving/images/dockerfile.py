"What a Dockerfile says of each of its targets: that part of its language which ours is written in."

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Image:
    "A target of the Dockerfile, with what it has from those below it."

    name: str
    base: str
    env: dict[str, str] = field(default_factory=dict)
    run: tuple[tuple[str, ...], ...] = ()  # those in the form of a list, which need no shell
    healthcheck: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = ""


def images(text: str) -> dict[str, Image]:
    "The stages of a Dockerfile by name."
    found: dict[str, Image] = {}
    stage: dict[str, Any] = {}

    def close() -> None:
        if stage:
            found[stage["name"]] = Image(**stage)

    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            close()
            base, _, name = rest.partition(" AS ")
            below = found.get(base, Image("", ""))
            stage = {**vars(below), "name": name, "base": base, "env": dict(below.env), "run": ()}
        elif word == "ENV":
            stage["env"] |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "RUN" and rest.startswith("["):
            stage["run"] += (tuple(json.loads(rest)),)
        elif word == "HEALTHCHECK":
            stage["healthcheck"] = tuple(json.loads(rest.partition("CMD ")[2]))
        elif word == "CMD":
            stage["command"] = tuple(json.loads(rest))
        elif word == "USER":
            stage["user"] = rest
    close()
    return found

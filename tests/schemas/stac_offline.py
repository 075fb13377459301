"""The STAC validator, with the schemas of this folder in place of the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stac_validator.validate import StacValidate

HERE = Path(__file__).parent
EXTENSION = "https://stac-extensions.github.io/{}/schema.json"
SCHEMAS = (
    {f"https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/{p.name}": p for p in HERE.glob("core/[a-z]*.json")}
    | {f"https://geojson.org/schema/{p.name}": p for p in HERE.glob("core/[A-Z]*.json")}
    | {EXTENSION.format(p.stem.replace("-", "/")): p for p in HERE.glob("extensions/*.json")}
    | {EXTENSION.format("classification/v1.1.0"): HERE / "extensions/classification-v2.0.0.json"}  # see README.md
)


def complaints(item: Mapping[str, Any]) -> str:
    "What the validator finds wrong with an item, its extensions included; empty where nothing."
    places = {address: str(path) for address, path in SCHEMAS.items()}
    validator = StacValidate(schema_map=places)
    if validator.validate_dict(dict(item)):
        skipped = {places[e] for e in item["stac_extensions"]} - set(validator.message[0]["schema"])
        return f"not looked at: {', '.join(sorted(skipped))}" if skipped else ""
    return str(validator.message[0]["error_message"])

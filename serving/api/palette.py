"Colours: of the classes of a legend, and of the confidence."

from itertools import pairwise
from typing import Any

from geocrop.schema import CropClass, Legend

from .raster import Colours

# Confidence, per cent -> colour, straight lines between: viridis, which the colour-blind read and which prints in grey
# (Smith, van der Walt 2015). Dark is unsure.
RAMP = ((0, "#440154"), (25, "#3b528b"), (50, "#21918c"), (75, "#5ec962"), (100, "#fde725"))


def rows(legend: Legend) -> list[dict[str, Any]]:
    "A legend as clients get it."
    return [{"id": c.id, "name": c.name, "colour": c.colour} for c in legend.classes]


def colours(legend: Legend) -> Colours:
    "A legend as tiles are painted with it."
    return {value: (*rgb, 255) for value, rgb in legend.rgb().items()}


def of_item(item: dict[str, Any]) -> Legend:
    "The legend that a map was made with, of its STAC item."
    bands = item["assets"]["map"]["bands"]
    return Legend(
        tuple(
            CropClass(c["value"], c["title"].replace(" ", "_"), f"#{c['color_hint'].lower()}")
            for c in bands[0]["classification:classes"]
        )
    )


def confidence() -> Colours:
    "The ramp as tiles are painted with it."
    stops = [(value, tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))) for value, colour in RAMP]
    table: Colours = {}
    for (low, a), (high, b) in pairwise(stops):
        for value in range(low, high + 1):
            share = (value - low) / (high - low)
            red, green, blue = (round(x + share * (y - x)) for x, y in zip(a, b, strict=True))
            table[value] = (red, green, blue, 255)
    return table

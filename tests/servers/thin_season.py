"The embedded season with few scenes, so that a map takes a moment; a part of it can be broken for a while."

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import rasterio

SCENES = 16  # the clearest of those that show all of the land; enough for every season curve


def thinned(
    season: Path,  # Folder of the embedded season
    folder: Path,  # Made; it holds links to the scenes, and a copy of the clearest
) -> Path:  # The catalog.json
    "A catalogue of the clearest scenes."
    scenes = folder / "s2_l2a"
    scenes.mkdir(parents=True)
    clearest = sorted((season / "s2_l2a").glob("*/*.json"), key=_hidden_pct)[:SCENES]
    shutil.copytree(clearest[0].parent, scenes / clearest[0].stem)
    for item in clearest[1:]:
        (scenes / item.stem).symlink_to(item.parent.resolve(), target_is_directory=True)
    collection = json.loads((season / "s2_l2a" / "collection.json").read_text())
    kept = {f"./{item.stem}/{item.name}" for item in clearest}
    collection["links"] = [link for link in collection["links"] if link["rel"] != "item" or link["href"] in kept]
    (scenes / "collection.json").write_text(json.dumps(collection))
    return Path(shutil.copy(season / "catalog.json", folder))


def _hidden_pct(item: Path) -> float:
    "Land that a scene does not show: under cloud, or beside the swath."
    found = json.loads(item.read_text())["properties"]
    return 100 - found["sentinel:data_coverage"] * (1 - found["eo:cloud_cover"] / 100)


@contextlib.contextmanager
def spoiled(
    catalogue: Path,  # Of `thinned`
) -> Iterator[str]:  # Id of the scene that is broken
    "A band of the clearest scene of which the north-west quarter cannot be read; all else can."
    [scene] = [path for path in (catalogue.parent / "s2_l2a").iterdir() if path.is_dir() and not path.is_symlink()]
    band = scene / "B04.tif"
    whole = band.read_bytes()
    with rasterio.open(band) as image:  # four tiles
        first, size = (int(image.get_tag_item(f"BLOCK_{what}_0_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE"))
    band.write_bytes(whole[:first] + b"\xff" * size + whole[first + size :])
    try:
        yield scene.name
    finally:
        band.write_bytes(whole)

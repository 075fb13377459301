"The embedded season with few scenes, so that a map takes a moment; and one of which a part is broken."

import json
import shutil
from pathlib import Path

import rasterio

SCENES = 16  # the clearest of those that show all of the land; enough for every season curve


def thinned(
    season: Path,  # Folder of the embedded season
    folder: Path,  # Made; it holds links to the scenes
) -> Path:  # The catalog.json
    "A catalogue of the clearest scenes."
    scenes = folder / "s2_l2a"
    scenes.mkdir(parents=True)
    clearest = sorted((season / "s2_l2a").glob("*/*.json"), key=_hidden_pct)[:SCENES]
    for item in clearest:
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


def spoil(
    catalogue: Path,  # Of `thinned`
) -> str:  # Id of the scene that is broken now
    "Break the first of the four tiles of a band of the clearest scene: its north-west quarter cannot be read, all else can."
    scene = min((catalogue.parent / "s2_l2a").glob("*/*.json"), key=_hidden_pct).parent
    whole = scene.resolve()
    scene.unlink()
    shutil.copytree(whole, scene)
    band = scene / "B04.tif"
    with rasterio.open(band) as image:
        offset = int(image.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        size = int(image.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
    with band.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * size)
    return scene.name

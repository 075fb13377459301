"""The map in a real browser, against the service as processes: what a visitor, a user and a keyboard can do.

Each test leaves pictures in GEOCROP_SCREENSHOTS (default build/screenshots), to be looked at.
"""

import io
import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import asked
import npm
import pytest
import service
from landcover import CHROMIUM, DESKTOP, land_cover_ms, launch
from loopback import answering
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright
from stack import Stack, stack

from geocrop import baselines
from geocrop.schema import AOI, EARTH_RADIUS_M
from geocrop.settings import legend
from serving.jobs import jobs

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(os.environ.get("GEOCROP_SCREENSHOTS", ROOT / "build/screenshots"))
PASSWORDS = {"ada": "harvest of 2022", "rex": "harvest of 2023", "tendai": "harvest of 2024"}
PHONE = {"width": 390, "height": 844}
SECONDS = 1000.0  # of Playwright's milliseconds
JOB_MS = 90 * SECONDS  # for a small job on a busy machine, its runner's start included
CENTRE = (31.05, -17.83)

# Colours of a layer as '#rrggbb' -> number of pixels, of a part of its width; '' are pixels on which nothing is.
COLOURS = """
([layer, from, to]) => {
  const canvas = document.querySelector(`.layer-${layer} canvas`)
  const counts = {}
  if (!canvas?.width) return counts
  const left = Math.round(canvas.width * from)
  const { data } = canvas.getContext('2d').getImageData(left, 0, Math.round(canvas.width * to) - left, canvas.height)
  for (let n = 0; n < data.length; n += 4) {
    const [r, g, b, a] = data.subarray(n, n + 4)
    const name = a === 0 ? '' : '#' + [r, g, b].map((v) => v.toString(16).padStart(2, '0')).join('')
    counts[name] = (counts[name] ?? 0) + 1
  }
  return counts
}
"""

OPACITY = """
(layer) => {
  const canvas = document.querySelector(`.layer-${layer} canvas`)
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
  let most = 0
  for (let n = 3; n < data.length; n += 4) most = Math.max(most, data[n])
  return most / 255
}
"""


@pytest.fixture(scope="session")
def pictures() -> Path:
    "Where pictures are kept."
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    return SCREENSHOTS


@pytest.fixture(scope="module")
def running(shelf: Path, season: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    "The service, with eleven seasons of land cover."
    own = tmp_path_factory.mktemp("own") / "shelf"
    shutil.copytree(shelf / "models", own / "models")
    baselines.write(own / "baselines", range(2015, 2026))
    with stack(tmp_path_factory.mktemp("web"), own, PASSWORDS) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    "A browser that all tests share."
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"no browser: found no {CHROMIUM}; apt-get install chromium")
    with sync_playwright() as playwright:
        expect.set_options(timeout=30 * SECONDS)  # its own, of five seconds, is that of an idle machine
        found = launch(playwright)
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser, running: Stack) -> Iterator[BrowserContext]:
    "A visitor whom nobody knows."
    with browser.new_context(viewport=DESKTOP, base_url=running.url, reduced_motion="reduce") as context:
        context.set_default_timeout(60 * SECONDS)
        yield context


@pytest.fixture
def page(context: BrowserContext, running: Stack) -> Iterator[Page]:
    "A page that may ask this service and nobody else, and may not fail in silence."
    page, failed = context.new_page(), []
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith((running.url, "blob:", "data:")) else failed.append(r.url))
    page.on("console", lambda m: failed.append(m.text) if "Content Security Policy" in m.text else None)
    yield page
    assert failed == []


def sign_in(page: Page, name: str = "ada") -> None:
    page.get_by_role("button", name="Sign in", exact=True).click()
    give_password(page, name)


def give_password(page: Page, name: str) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    dialog.get_by_label("Password").fill(PASSWORDS[name])
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).not_to_be_visible()


def type_circle(page: Page, lon: object, lat: object, radius_m: object) -> None:
    for label, value in (("Longitude", lon), ("Latitude", lat), ("Radius, m", radius_m)):
        page.get_by_label(label).fill(str(value))


def colours(page: Page, layer: str, begin: float = 0, end: float = 1) -> dict[str, int]:
    return page.evaluate(COLOURS, [layer, begin, end])


def until(is_so: Callable[[], object], patience_s: float = 60) -> None:
    "Wait for what a page comes to show. Playwright's own waiting would need a page that may eval."
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def painted(page: Page, layer: str) -> None:
    "Wait until something of a layer is on the screen."
    until(lambda: set(colours(page, layer)) - {""})


def on_map(page: Page, x: float, y: float) -> dict[str, float]:
    "A place on the map, in parts of its sides, for the mouse."
    box = page.locator(".map").bounding_box()
    assert box
    return {"x": box["x"] + box["width"] * x, "y": box["y"] + box["height"] * y}


def open_finished(page: Page, running: Stack) -> None:
    "The map of the job that is done, opened by its address."
    assert running.finished
    page.goto(f"/#/map/{running.finished.id}")
    give_password(page, "ada")
    painted(page, "prediction")


def hectares_of(text: str) -> float:
    found = re.search(r"([\d,]+(?:\.\d+)?) ha", text)
    assert found, text
    return float(found[1].replace(",", ""))


# --- before anybody signs in -----------------------------------------------------------------------------------------


def test_land_cover_is_there_before_anybody_signs_in(browser: Browser, running: Stack, pictures: Path):
    "From nothing, with an empty cache. How soon: bench/serving.py --part page."
    with browser.new_context(viewport=DESKTOP, base_url=running.url) as context:
        page = context.new_page()
        assert land_cover_ms(page) > 0
        expect(page.get_by_role("button", name="Sign in", exact=True)).to_be_visible()
        page.screenshot(path=pictures / "01_land_cover.png")


def test_each_season_shows_its_own_land_cover(page: Page, pictures: Path):
    page.goto("/")
    painted(page, "baseline")
    known = {row["colour"] for row in page.request.get("/legend").json()["baseline"]}
    now = colours(page, "baseline")
    assert set(now) - {""} <= known, "a colour that the legend does not know: classes were blended"
    with page.expect_response(re.compile(r"/tiles/baselines/2016/")):
        page.get_by_role("radio", name="2016/17").check(force=True)
    expect(page.get_by_text("Land cover 2016/17")).to_be_visible()
    expect(page.get_by_text("no Sentinel-2 scenes of 2016/17")).to_be_visible()
    until(lambda: colours(page, "baseline") not in ({}, now))
    page.get_by_role("button", name="Use 2022/23").click()
    expect(page.get_by_role("radio", name="2022/23")).to_be_checked()


@pytest.mark.parametrize(
    ("lon", "lat", "radius_m", "says"),
    [
        ("31,05", "-17.83", "1000", "with a point"),
        ("31.05", "", "1000", "Give the latitude"),
        ("31.05", "-17.83", "20", "give metres from 50 to 50,000"),
        ("-17.83", "31.05", "1000", "Longitude comes first"),
        ("12.5", "41.9", "1000", "no scenes at this place"),
    ],
)
def test_a_wrong_area_is_told_what_to_do(page: Page, lon: str, lat: str, radius_m: str, says: str):
    page.goto("/")
    type_circle(page, lon, lat, radius_m)
    expect(page.locator("#area-says")).to_contain_text(says)
    expect(page.get_by_role("button", name="Sign in and make the map")).to_be_disabled()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("POLYGON((31 -17))", "This is no JSON"),
        ('{"type": "Point", "coordinates": [31, -17]}', "no single polygon"),
        ('{"type": "Polygon", "coordinates": [[[31.03, -17.84], [31.06, -17.84], [31.06, -17.82]]]}', "is open"),
    ],
)
def test_a_wrong_polygon_is_told_what_to_do(page: Page, text: str, says: str):
    page.goto("/")
    page.get_by_role("radio", name="Polygon").check(force=True)
    page.get_by_label("GeoJSON polygon").fill(text)
    expect(page.locator("#area-says")).to_contain_text(says)


def test_a_background_and_a_boundary_are_shown_where_they_are_named(
    browser: Browser, running: Stack, tmp_path: Path, pictures: Path
):
    "The one other host that the page may ask is the one that whoever runs the service has named."
    west, south, east, north = 30.6, -18.1, 31.5, -17.5
    outline = tmp_path / "country.geojson"
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    outline.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    with answering(ThreadingHTTPServer(("127.0.0.1", 0), GreyTiles)) as elsewhere, service.listening() as sock:
        named = {
            "GEOCROP_API_BASEMAP": elsewhere + "/{z}/{x}/{y}.png",
            "GEOCROP_API_CREDIT": "Tiles of a test",
            "GEOCROP_COUNTRY_BOUNDARY": str(outline),
        }
        with service.api(running.project, sock, named) as live, browser.new_page(viewport=DESKTOP) as page:
            page.goto(live.url)
            until(lambda: seen(page, GREY) > 0.5)
            expect(page.get_by_text("Tiles of a test")).to_be_visible()
            answered = page.request.get(f"{live.url}/boundary")
            assert answered.json()["coordinates"] == [ring]
            page.screenshot(path=pictures / "14_background.png")
            assert page.evaluate("(url) => fetch(url).then(() => 'let in', () => 'kept out')", elsewhere) == "kept out"


GREY = (200, 200, 200)


def seen(page: Page, colour: tuple[int, int, int]) -> float:
    "Part of the map that has a colour, as it stands on the screen: tiles of another host cannot be read by scripts."
    picture = Image.open(io.BytesIO(page.locator(".map").screenshot())).convert("RGB")
    return sum(n for n, c in picture.getcolors(picture.width * picture.height) or [] if c == colour) / (
        picture.width * picture.height
    )


class GreyTiles(BaseHTTPRequestHandler):
    "A tile server of somebody else."

    def do_GET(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (256, 256), GREY).save(picture, "PNG")
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()
        self.wfile.write(picture.getvalue())

    def log_message(self, format: str, *args: Any) -> None:
        pass


# --- areas -----------------------------------------------------------------------------------------------------------


def test_a_circle_is_drawn_in_metres_on_the_ground(page: Page, pictures: Path):
    page.goto("/")
    painted(page, "baseline")
    page.get_by_role("button", name="Draw it").click()
    middle, edge = on_map(page, 0.5, 0.5), on_map(page, 0.6, 0.5)
    page.keyboard.press("Escape")
    expect(page.locator(".drawing")).not_to_be_visible()
    page.get_by_role("button", name="Draw it").click()
    page.mouse.click(**middle)
    page.mouse.move(**edge, steps=4)
    expect(page.locator(".drawing strong")).to_contain_text("ha")
    page.screenshot(path=pictures / "02_drawing.png")
    page.mouse.click(**edge)
    lon, lat, radius_m = (
        float(page.get_by_label(label).input_value()) for label in ("Longitude", "Latitude", "Radius, m")
    )
    assert (lon, lat) == pytest.approx(CENTRE, abs=0.002)
    ring = AOI(lon, lat, radius_m).polygon()["coordinates"][0]  # the library's own circle
    assert hectares_of(page.locator(".area-size").inner_text()) == pytest.approx(sphere_ha(ring), abs=0.51)


def test_a_polygon_is_drawn_and_its_corners_are_moved(page: Page):
    page.goto("/")
    painted(page, "baseline")
    page.get_by_role("radio", name="Polygon").check(force=True)
    page.get_by_role("button", name="Draw it").click()
    corners = [(0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)]
    for x, y in [*corners, corners[0]]:
        page.mouse.click(**on_map(page, x, y))
        page.wait_for_timeout(300)  # two quick clicks would be a double click
    text = page.get_by_label("GeoJSON polygon")
    drawn = json.loads(text.input_value())["coordinates"][0]
    assert len(drawn) == 5 and drawn[0] == drawn[-1]
    assert hectares_of(page.locator(".area-size").inner_text()) == pytest.approx(sphere_ha(drawn), abs=0.51)
    page.mouse.move(**on_map(page, 0.6, 0.6))
    page.mouse.down()
    page.mouse.move(**on_map(page, 0.7, 0.7), steps=5)
    page.mouse.up()
    expect(text).not_to_have_value(json.dumps({"type": "Polygon", "coordinates": [drawn]}))
    assert json.loads(text.input_value())["coordinates"][0] != drawn


def sphere_ha(ring: list[list[float]]) -> float:
    "Area of a small ring on the sphere of the library, by the shoelace in an equal-area projection."
    flat = [(math.radians(lon) * EARTH_RADIUS_M, math.sin(math.radians(lat)) * EARTH_RADIUS_M) for lon, lat, *_ in ring]
    return abs(sum(x * b - a * y for (x, y), (a, b) in pairwise(flat))) / 2 / 10_000


# --- a map, from the first click to the file -------------------------------------------------------------------------


def test_a_map_from_sign_in_to_download(page: Page, running: Stack, pictures: Path, tmp_path: Path):
    page.goto("/")
    type_circle(page, *CENTRE, 1200)
    page.get_by_role("button", name="Sign in and make the map").click()
    give_password(page, "ada")
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    page.screenshot(path=pictures / "04_progress.png")
    expect(page.get_by_text("What grows where")).to_be_visible(timeout=JOB_MS)
    job_id = page.url.rpartition("/")[2]

    painted(page, "prediction")
    known = {c.colour for c in legend(ROOT).classes}
    assert set(colours(page, "prediction")) - {""} <= known, "classes were blended"
    page.screenshot(path=pictures / "05_map.png")
    expect(page.get_by_text("No intervals:")).to_be_visible()
    rows = page.locator(".land-use tbody tr")
    mapped_ha = sum(float(row.locator("td").first.inner_text().replace(",", "")) for row in rows.all())
    assert mapped_ha == pytest.approx(math.pi * 1.2**2 * 100, rel=0.02)

    for label, suffix, begin in (("Map, GeoTIFF", ".tif", b"II"), ("Statistics", ".stats.json", b"{"),
                                 ("STAC item", ".json", b"{"), ("Colours for QGIS", ".qml", b"<")):  # fmt: skip
        with page.expect_download() as waiting:
            page.get_by_role("button", name=label).click()
        file = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(file)
        assert file.name == f"geocrop-2022-{job_id[:8]}{suffix}"
        assert file.read_bytes().startswith(begin)
    assert json.loads((tmp_path / f"geocrop-2022-{job_id[:8]}.stats.json").read_text())["hectares_counted"]

    page.get_by_role("link", name="My maps").click()
    expect(page.locator(".job").first).to_contain_text("Ready")
    page.screenshot(path=pictures / "06_my_maps.png")


def test_what_to_expect_is_said_before(page: Page, pictures: Path):
    page.goto("/")
    sign_in(page)
    type_circle(page, *CENTRE, 1200)
    expected = page.get_by_role("region", name="What to expect")
    for fact in ("Takes about", "Clear days expected", "Scenes read"):
        expect(expected).to_contain_text(fact)
    page.screenshot(path=pictures / "03_quote.png")


def test_the_prediction_is_compared_with_land_cover(page: Page, running: Stack, pictures: Path):
    open_finished(page, running)
    page.get_by_label("side by side").check()
    divider = page.get_by_role("slider", name="Divider")
    expect(divider).to_have_attribute("aria-valuenow", "50")
    until(lambda: set(colours(page, "prediction", 0, 0.45)) == {""})
    assert any(colours(page, "prediction", 0.55, 1)), "the prediction stands right of the divider"
    page.screenshot(path=pictures / "07_swipe.png")
    grip = divider.bounding_box()
    assert grip
    page.mouse.move(grip["x"] + 22, grip["y"] + 22)
    page.mouse.down()
    page.mouse.move(**on_map(page, 0.2, 0.5), steps=5)
    page.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", "20")
    page.get_by_label("side by side").uncheck()
    expect(divider).not_to_be_visible()

    page.get_by_label("Opacity of the crop map").fill("40")
    until(lambda: page.evaluate(OPACITY, "prediction") == pytest.approx(0.4, abs=0.01))


def test_confidence_has_colours_of_its_own(page: Page, running: Stack, pictures: Path):
    open_finished(page, running)
    classes = set(colours(page, "prediction"))
    with page.expect_response(re.compile("mode=confidence")):
        page.get_by_role("radio", name="Confidence").check(force=True)
    expect(page.get_by_text("eight in ten are right")).to_be_visible()
    until(lambda: not set(colours(page, "prediction")) & (classes - {""}))
    assert len(colours(page, "prediction")) > 20
    page.screenshot(path=pictures / "08_confidence.png")


def test_a_pixel_tells_its_class_and_its_season(page: Page, running: Stack, pictures: Path):
    open_finished(page, running)
    with (
        page.expect_response(re.compile("/point")) as point,
        page.expect_response(re.compile("/curve"), timeout=60 * SECONDS) as curve,
    ):
        page.mouse.click(**on_map(page, 0.45, 0.45))
    told, season = point.value.json(), curve.value.json()
    card = page.get_by_role("region", name="This pixel")
    expect(card).to_contain_text(told["class"]["name"].replace("_", " "), ignore_case=True)
    expect(card).to_contain_text(f"{told['confidence']} %")
    expect(card).to_contain_text(str(told["clear_days"]))
    expect(card.locator(".curve-clear")).to_have_count(sum(season["clear"]))
    expect(card.locator(".curve-cloudy")).to_have_count(len(season["clear"]) - sum(season["clear"]))
    page.screenshot(path=pictures / "09_pixel.png")


def test_a_job_is_cancelled(page: Page, running: Stack):
    page.goto("/")
    sign_in(page)
    type_circle(page, *CENTRE, 2500)
    with running.held("worker"):  # or the map might be there before the mouse is
        page.get_by_role("button", name="Make the map").click()
        page.get_by_role("button", name="Cancel").click()
        expect(page.get_by_text("was cancelled")).to_be_visible()
    assert jobs.get(running.engine, page.url.rpartition("/")[2]).status == "dismissed"
    page.get_by_role("button", name="Change the area").click()
    expect(page.get_by_label("Radius, m")).to_have_value("2500")


# --- when something is in the way ------------------------------------------------------------------------------------


def test_the_sixth_map_of_a_guest_is_refused_with_the_reason(page: Page, running: Stack, pictures: Path):
    with running.held("worker"):  # nobody shall make these maps
        for _ in range(5):
            asked.job(running.engine, running.people["rex"])
        page.goto("/")
        sign_in(page, "rex")
        expect(page.locator(".panel-foot")).to_contain_text("5 of 5 maps used, 0 left")
        type_circle(page, *CENTRE, 500)
        page.get_by_role("button", name="Make the map").click()
        expect(page.get_by_role("alert")).to_contain_text("5")
        page.screenshot(path=pictures / "10_no_maps_left.png")
        for job in jobs.listed(running.engine, running.people["rex"], limit=9):
            jobs.dismiss(running.engine, job.id, running.people["rex"])


def test_an_expired_session_costs_nothing_that_was_entered(page: Page, running: Stack, pictures: Path):
    page.goto("/")
    type_circle(page, *CENTRE, 900)
    over = {"token": running.expired("ada"), "name": "ada", "role": "admin"}
    page.evaluate("(over) => sessionStorage.setItem('geocrop.session', JSON.stringify(over))", over)
    page.reload()
    expect(page.get_by_role("dialog")).to_contain_text("Your session has ended")
    page.screenshot(path=pictures / "11_expired.png")
    give_password(page, "ada")
    expect(page.get_by_text("Takes about")).to_be_visible()  # the quote that was under way is answered now
    expect(page.get_by_label("Radius, m")).to_have_value("900")


def test_progress_is_asked_for_where_no_events_come_through(page: Page, running: Stack):
    page.route("**/events", lambda route: route.abort())
    page.goto("/")
    sign_in(page)
    type_circle(page, *CENTRE, 300)
    page.get_by_role("button", name="Make the map").click()
    expect(page.get_by_text("What grows where")).to_be_visible(timeout=JOB_MS)


def test_a_wrong_password_is_said(page: Page):
    page.goto("/")
    page.get_by_role("button", name="Sign in", exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("ada")
    dialog.get_by_label("Password").fill("of somebody else")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Name or password is not right")


def test_the_service_goes_away_and_comes_back(page: Page, running: Stack, pictures: Path):
    "One wish, made while nobody listens, becomes one job."
    page.goto("/")
    sign_in(page)
    type_circle(page, *CENTRE, 400)
    expect(page.get_by_text("Takes about")).to_be_visible()
    before = {job.id for job in jobs.listed(running.engine, running.people["ada"], limit=50)}
    running.stop("api")
    try:
        page.get_by_role("button", name="Make the map").click()
        expect(page.get_by_text("The service does not answer")).to_be_visible()
        page.screenshot(path=pictures / "12_away.png")
    finally:
        running.start("api")
    expect(page.get_by_text("The service is back")).to_be_visible(timeout=60 * SECONDS)
    page.wait_for_url(re.compile(r"#/map/\w{32}"))
    after = {job.id for job in jobs.listed(running.engine, running.people["ada"], limit=50)}
    assert after - before == {page.url.rpartition("/")[2]}
    running.stop("api")  # while progress is being followed
    running.start("api")
    expect(page.get_by_text("What grows where")).to_be_visible(timeout=JOB_MS)


# --- everybody -------------------------------------------------------------------------------------------------------


def test_a_map_on_a_phone(browser: Browser, running: Stack, pictures: Path):
    with browser.new_context(
        viewport=PHONE, base_url=running.url, device_scale_factor=2, is_mobile=True, has_touch=True
    ) as context:
        page = context.new_page()
        page.goto("/")
        painted(page, "baseline")
        page.screenshot(path=pictures / "20_phone_plan.png")
        panel = page.locator(".panel")
        page.get_by_role("button", name="Show more of the panel").click()
        expect(panel).to_have_attribute("data-snap", "full")
        page.screenshot(path=pictures / "21_phone_panel.png")
        page.get_by_role("button", name="Draw it").tap()
        expect(panel).to_have_attribute("data-snap", "peek")
        page.touchscreen.tap(200, 300)
        page.wait_for_timeout(400)  # two quick taps would zoom
        page.touchscreen.tap(200, 360)
        expect(page.locator(".area-size")).to_contain_text("ha")
        open_finished(page, running)
        page.screenshot(path=pictures / "22_phone_map.png")
        box = page.locator(".map").bounding_box()
        assert box
        page.touchscreen.tap(box["width"] / 2, box["y"] + 160)
        expect(page.get_by_text("Its season")).to_be_visible(timeout=60 * SECONDS)
        page.screenshot(path=pictures / "23_phone_pixel.png")
        for place in ("map", "jobs", "about/architecture"):
            page.goto(f"/#/{place}")
            page.wait_for_timeout(200)
            assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], f"{place} is too wide"
        small = page.evaluate(
            "() => [...document.querySelectorAll('button, a, input')].filter((e) => e.checkVisibility())"
            ".map((e) => [e.textContent, e.getBoundingClientRect()]).filter(([, r]) => r.width && r.height < 24)"
            ".map(([text]) => text)"
        )
        assert small == [], "targets smaller than 24 CSS pixels (WCAG 2.2, 2.5.8)"


def test_everything_is_reached_by_keyboard(page: Page, running: Stack, pictures: Path):
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_be_visible()  # a key pressed before is a key for nobody
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Skip to content")).to_be_focused()
    tab_to(page, page.get_by_role("button", name="Sign in", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Name")).to_be_focused()
    page.keyboard.type("ada")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORDS["ada"])
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).not_to_be_visible()

    tab_to(page, page.get_by_label("Longitude"))
    for value in (*map(str, CENTRE), "300"):
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    submit = page.get_by_role("button", name="Make the map")
    tab_to(page, submit)
    assert submit.evaluate("(e) => getComputedStyle(e).outlineStyle") == "solid", "focus is seen"
    page.keyboard.press("Enter")
    expect(page.get_by_text("What grows where")).to_be_visible(timeout=JOB_MS)

    tab_to(page, page.get_by_label("side by side"))
    page.keyboard.press("Space")
    tab_to(page, page.get_by_role("slider", name="Divider"), most=80)
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider", name="Divider")).to_have_attribute("aria-valuenow", "52")

    page.locator(".map").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="This pixel")).to_be_visible()
    page.screenshot(path=pictures / "13_keyboard.png")


def tab_to(page: Page, wanted: Locator, most: int = 60) -> None:
    for _ in range(most):
        if wanted.evaluate("(e) => e === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} is not reached by {most} times Tab")


PLACES = ["map", "jobs", *(f"about/{name}" for name in (
    "architecture", "infrastructure", "workflow", "decisions", "observability", "status"))]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_no_barrier_is_found(page: Page, place: str, axe: str, pictures: Path):
    "axe-core on each page: contrast, names, order, roles."
    page.goto(f"/#/{place}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=pictures / f"30_{place.replace('/', '_')}.png", full_page=True)
    assert barriers(page, axe) == []


def test_no_barrier_is_found_in_a_result_and_a_dialog(page: Page, running: Stack, axe: str):
    assert running.finished
    page.goto(f"/#/map/{running.finished.id}")
    expect(page.get_by_role("dialog")).to_be_visible()
    assert barriers(page, axe) == []
    give_password(page, "ada")
    painted(page, "prediction")
    page.mouse.click(**on_map(page, 0.5, 0.5))
    expect(page.get_by_text("Its season")).to_be_visible(timeout=60 * SECONDS)
    page.get_by_label("side by side").check()
    page.get_by_role("radio", name="Confidence").check(force=True)
    assert barriers(page, axe) == []
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    assert barriers(page, axe) == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    "The source of axe-core."
    return npm.axe(tmp_path_factory.mktemp("axe"))


def barriers(page: Page, axe: str) -> list[Any]:
    "What axe-core finds, WCAG 2.2 A and AA and its best practices, short."
    if not page.evaluate("'axe' in window"):
        page.evaluate(axe)  # a script element would be against the policy
    found = page.evaluate("axe.run()")
    assert found["passes"], "axe looked at something"
    return [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]]) for one in found["violations"]
    ]


# --- technical pages -------------------------------------------------------------------------------------------------


def test_the_technical_pages_show_the_project(page: Page):
    facts = json.loads((ROOT / "serving/web/src/facts.json").read_text())
    page.goto("/#/about/workflow")
    graph = page.get_by_role("img", name="Stages of the pipeline")
    for stage in facts["stages"]:
        expect(graph).to_contain_text(stage["name"])
        expect(graph).to_contain_text(stage["outs"][0])
    expect(graph.locator(".lane")).to_have_count(6)  # source and stages whose outputs others read
    page.goto("/#/about/observability")
    for metric in facts["metrics"]:
        expect(page.get_by_role("row", name=metric["name"])).to_be_visible()
    page.goto("/#/about/architecture")
    expect(page.get_by_role("row", name="/processes/{process}/execution")).to_be_visible()


def test_the_status_page_tells_what_is_so(page: Page, running: Stack, pictures: Path):
    page.goto("/#/about/status")
    answers = page.locator(".service", has=page.get_by_role("heading", name="Answers"))
    expect(answers).to_contain_text("works")
    running.stop("answers")
    try:
        expect(answers).to_contain_text("does not answer", timeout=60 * SECONDS)
        expect(page.get_by_text("Something is missing")).to_be_visible()
        page.screenshot(path=pictures / "31_degraded.png")
    finally:
        running.start("answers")
    expect(answers).to_contain_text("works", timeout=60 * SECONDS)

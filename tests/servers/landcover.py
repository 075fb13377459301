"A browser, and when the first land cover is on its screen."

from deployed import until
from playwright.sync_api import Browser, Page, Playwright, ViewportSize

CHROMIUM = "/usr/bin/chromium"
PATIENCE_S = 60
DESKTOP: ViewportSize = {"width": 1360, "height": 860}

# Milliseconds since the navigation began.
_WATCH = """
(() => {
  const look = () => {
    const canvas = document.querySelector('.layer-baseline canvas')
    if (canvas?.width) {
      // A part from the middle: to read all of it in each frame would take time from the page.
      const [x, y] = [canvas.width / 2 - 64, canvas.height / 2 - 64]
      const { data } = canvas.getContext('2d').getImageData(x, y, 128, 128)
      let seen = 0
      for (let n = 3; n < data.length; n += 4) seen += data[n] > 0
      if (seen > data.length / 8) return (window.landCoverMs = performance.now()) // half of its pixels
    }
    requestAnimationFrame(look)
  }
  requestAnimationFrame(look)
})()
"""


def launch(playwright: Playwright) -> Browser:
    "A browser without a screen."
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def land_cover_ms(page: Page) -> float:
    "Open the map in a page that is new, and wait for land cover: the milliseconds from the navigation to its pixels."
    page.add_init_script(_WATCH)
    page.goto("/")
    # Asked again and again, since wait_for_function is refused by the page's policy; seldom, since asking takes time
    # from the page, which has noted when it was.
    return float(until(lambda: page.evaluate("window.landCoverMs"), PATIENCE_S, f"{page.url}: no land cover", 0.25))

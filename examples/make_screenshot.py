"""Make the README's pictures of the demo page, in a headless Chromium.

    text-telescope serve &
    python -m examples.make_screenshot --out docs/images/demo-page.png
    python -m examples.make_screenshot --out docs/images/demo-narrow.png --sample sign --width 400 --dark

The service must be able to read, with the extra `ocr`. Needs the package playwright (extra `dev`) and the program
chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Error, sync_playwright


def main(argv: list[str] | None = None) -> int:
    """Write the picture; returns the exit code (2 without Chromium or a server)."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.make_screenshot", description="The demo page with a result."
    )
    parser.add_argument("--out", type=Path, required=True, help="PNG to write")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="a running server")
    parser.add_argument("--sample", default="A scan", help="the sample to show, by its title")
    parser.add_argument("--width", type=int, default=1100, help="of the window, in pixels")
    parser.add_argument("--dark", action="store_true", help="the dark colour scheme")
    args = parser.parse_args(argv)
    chromium = shutil.which("chromium")
    if chromium is None:
        print("the program chromium is missing: apt-get install chromium", file=sys.stderr)
        return 2
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": args.width, "height": 720}, color_scheme="dark" if args.dark else "light"
        )
        try:
            page.goto(args.url)
            page.get_by_role("button", name=args.sample).click()
            page.locator("body[data-shows=result] #result:not([aria-busy])").wait_for()
            page.mouse.move(0, 0)  # so that no button is highlighted
            result = page.locator("#result").bounding_box()
        except Error as exc:
            print(f"no picture from {args.url}: {exc.message.splitlines()[0]}", file=sys.stderr)
            return 2
        assert result  # visible by now
        args.out.parent.mkdir(parents=True, exist_ok=True)
        height = result["y"] + result["height"] + 16
        page.screenshot(
            path=args.out, full_page=True, clip={"x": 0, "y": 0, "width": args.width, "height": height}
        )
    print(f"{args.out}: {args.out.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

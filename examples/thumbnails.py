"""
Resize images in child processes: a `def` handler runs in a process that can be killed, and burns no time of others.

    taskpost up --handlers examples.thumbnails    # in one terminal; needs `pip install pillow`
    python examples/thumbnails.py                 # in another

Submit paths, not pixels: arguments travel through Redis. Worker and submitter share a file system here.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from PIL import Image

from workers import Fail, task


@task("thumbnails.make", timeout=30, retries=2, retry_on=(OSError,))
def thumbnail(source: str, target: str, width: int = 64) -> dict[str, int]:
    """Write *source* to *target*, *width* pixels wide."""
    if not Path(source).exists():
        raise Fail(f"there is no {source}")  # trying again would not help
    with Image.open(source) as image:
        image.thumbnail((width, width))
        image.save(target)
        return {"width": image.width, "height": image.height}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for number in range(4):
            source = Path(folder, f"{number}.png")
            Image.new("RGB", (400, 200 + 50 * number), "teal").save(source)
            rows.append((str(source), str(source.with_suffix(".small.png")), 64))
        handles = thumbnail.submit_many_sync(rows)
        for row, handle in zip(rows, handles, strict=True):
            size = handle.get(timeout=30)
            print(f"{Path(row[1]).name}: {size['width']} x {size['height']}")


if __name__ == "__main__":
    main()

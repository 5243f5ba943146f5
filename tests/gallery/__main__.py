"""Draw the pictures of docs/gallery again: ``python -m tests.gallery``."""

from __future__ import annotations

from tests.gallery.pictures import GALLERY, PICTURES, draw

for name in PICTURES:
    (GALLERY / f"{name}.svg").write_text(draw(name))
    print(f"drawn: docs/gallery/{name}.svg")

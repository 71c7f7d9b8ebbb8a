"""The demo's sample library: photographs out of installed wheels, and signs, posters and receipts drawn here.

`catalog.json` describes every picture in English and Chinese, `catalog.pictures()` reads it, and
`python -m project.library.render` draws the files in `pictures/` again.
"""

from __future__ import annotations

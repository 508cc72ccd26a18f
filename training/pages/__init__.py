"""Rendered pages with known text, the data of `python -m bench pages`, and the errors of their readings."""

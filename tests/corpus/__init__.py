"""Small pictures of every kind, and the pixels or the refusal that is right for each.

    drawing.py                                the drawings, and File: a picture with its expectation
    writers.py, tiff_writer.py, profiles.py   files byte by byte, as their specifications have them
    png.py, jpeg.py, tiff.py, ...             the tables: one line for each file
    files.py                                  all tables together
    ways.py, ways_to_*.py                     the ways into the product, each with all files at once
    test_corpus.py                            every file through every way

An expectation comes from the drawing and the format's specification; no decoder makes it.

    python -m pytest tests/corpus
"""

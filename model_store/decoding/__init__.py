"""The parts of the decoder `model_store/pictures.py` that Pillow lacks.

header.py    Header: the result of reading a file's header
exif.py      the orientation in EXIF and XMP, and the directories of TIFF, of which EXIF is one
png.py       the chunks of a PNG that its pixels need, and its orientation wherever it stands
tiff.py      the main page of a TIFF
gif.py       a limit for the blocks of a GIF
jpeg.py      a JPEG without its metadata, and the roles of the pictures in a phone's JPEG
colours.py   pixels of any mode -> RGB: depths, profiles, transparency
grounds.py   the ground under a transparent picture
libtiff.py   the errors of libtiff, instead of lines on stderr
"""

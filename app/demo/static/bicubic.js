/**
 * Enlarge RGBA pixels by a whole factor with the Keys cubic, a = -0.5, as Pillow's BICUBIC does (except for the
 * rounding of halves): the baseline that super-resolution is measured against. The smoothing of browsers
 * themselves differs from one to the next.
 *
 * pixels: Uint8ClampedArray of 4 * width * height. Returns ImageData of scale times the width and height.
 */
export function bicubic(pixels, width, height, scale) {
  const taps = Array.from({ length: scale }, (_, phase) => phaseTaps((phase + 0.5) / scale - 0.5));
  const wide = new Uint8ClampedArray(4 * width * scale * height); // rounded between the passes, as Pillow does
  for (let y = 0; y < height; y++) {
    stretch(pixels, 4 * width * y, 4, wide, 4 * width * scale * y, 4, width, taps);
  }
  const result = new ImageData(width * scale, height * scale);
  const row = 4 * width * scale;
  for (let x = 0; x < width * scale; x++) {
    stretch(wide, 4 * x, row, result.data, 4 * x, row, height, taps);
  }
  return result;
}

/** One line of `count` pixels, `step` values apart, to taps.length times as many. */
function stretch(from, fromStart, fromStep, to, toStart, toStep, count, taps) {
  let out = toStart;
  for (let i = 0; i < count; i++) {
    for (const { first, weights } of taps) {
      let total = 0, r = 0, g = 0, b = 0;
      for (let tap = 0; tap < 4; tap++) {
        const j = i + first + tap;
        if (j < 0 || j >= count) continue; // beyond the border: the other taps share its weight
        const at = fromStart + j * fromStep;
        const weight = weights[tap];
        total += weight;
        r += weight * from[at];
        g += weight * from[at + 1];
        b += weight * from[at + 2];
      }
      to[out] = r / total;
      to[out + 1] = g / total;
      to[out + 2] = b / total;
      to[out + 3] = 255;
      out += toStep;
    }
  }
}

/** The four taps of an output pixel whose centre lies `offset` input pixels from an input pixel's. */
function phaseTaps(offset) {
  const first = Math.floor(offset) - 1;
  return { first, weights: [0, 1, 2, 3].map((tap) => cubic(first + tap - offset)) };
}

function cubic(signed) {
  const t = Math.abs(signed);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
}

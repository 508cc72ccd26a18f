/* Pictures in the browser: decoded as the service decodes them, lines cut out, enlarged. */

import { bicubic } from "./bicubic.js";

/** The picture over white, as on the server; null if this browser cannot read its format. */
export async function decoded(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => null);
  if (!bitmap) return null;
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return canvas;
}

/** A line's pixels at its own size, its box turned upright. */
export function cutOut(page, { box: [origin, right, , below], input: { width, height } }) {
  const line = new OffscreenCanvas(width, height);
  const pen = line.getContext("2d");
  const [ax, ay] = [(right[0] - origin[0]) / width, (right[1] - origin[1]) / width];
  const [bx, by] = [(below[0] - origin[0]) / height, (below[1] - origin[1]) / height];
  const area = ax * by - bx * ay; // the inverse of "pixel (i, j) of the line lies at origin + i a + j b"
  const turn = [by / area, -ay / area, -bx / area, ax / area];
  pen.setTransform(...turn, -(turn[0] * origin[0] + turn[2] * origin[1]), -(turn[1] * origin[0] + turn[3] * origin[1]));
  pen.imageSmoothingQuality = "high";
  pen.drawImage(page, 0, 0);
  return line;
}

/** Twice the size, bicubically: the picture that super-resolution is compared with. */
export function enlarged(picture) {
  const { data } = picture.getContext("2d").getImageData(0, 0, picture.width, picture.height);
  const twice = new OffscreenCanvas(2 * picture.width, 2 * picture.height);
  twice.getContext("2d").putImageData(bicubic(data, picture.width, picture.height, 2), 0, 0);
  return twice;
}

export const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

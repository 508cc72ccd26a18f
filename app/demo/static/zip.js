/* A ZIP of files that are stored, not compressed: pictures are compressed already. */

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});
const crc32 = (bytes) => ~bytes.reduce((crc, byte) => TABLE[(crc ^ byte) & 255] ^ (crc >>> 8), ~0) >>> 0;

/** Fields of [bytes, value], little-endian. */
function packed(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [bytes]) => sum + bytes, 0)));
  let at = 0;
  for (const [bytes, value] of fields) {
    if (bytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += bytes;
  }
  return new Uint8Array(view.buffer);
}

/** entries: {name: Uint8Array}. */
export function zip(entries) {
  const files = [], directory = [];
  let offset = 0;
  for (const [name, data] of Object.entries(entries)) {
    const path = new TextEncoder().encode(name);
    // Version 2.0, UTF-8 names, stored, 1 January 2026: a fixed date, so that equal results give equal files.
    const common = [[2, 20], [2, 0x0800], [2, 0], [2, 0], [2, 0x5c21], [4, crc32(data)], [4, data.length], [4, data.length], [2, path.length], [2, 0]];
    files.push(packed([[4, 0x04034b50], ...common]), path, data);
    directory.push(packed([[4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]]), path);
    offset += 30 + path.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = files.length / 3;
  const end = packed([[4, 0x06054b50], [2, 0], [2, 0], [2, count], [2, count], [4, size], [4, offset], [2, 0]]);
  return new Blob([...files, ...directory, end], { type: "application/zip" });
}

/** The checksum of zips: CRC-32 with the reversed polynomial 0xEDB88320. */

/** For a byte; then for a byte with one, two and three zeros behind it, so that four are done at once. */
const TABLES = [0, 1, 2, 3].map(() => new Int32Array(256)) as [Int32Array, Int32Array, Int32Array, Int32Array];
for (let byte = 0; byte < 256; byte += 1) {
  let value = byte;
  for (const table of TABLES) {
    for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    table[byte] = value;
  }
}

/**
 * CRC-32 of bytes, 0 to 2^32 - 1.
 *
 * @param before that of what came before them.
 */
export function crc32(bytes: Uint8Array, before = 0): number {
  const [one, two, three, four] = TABLES;
  let value = ~before;
  let index = 0;
  for (; index + 4 <= bytes.length; index += 4) {
    value ^= bytes[index]! | (bytes[index + 1]! << 8) | (bytes[index + 2]! << 16) | (bytes[index + 3]! << 24);
    value = four[value & 0xff]! ^ three[(value >>> 8) & 0xff]! ^ two[(value >>> 16) & 0xff]! ^ one[value >>> 24]!;
  }
  for (; index < bytes.length; index += 1) value = one[(value ^ bytes[index]!) & 0xff]! ^ (value >>> 8);
  return ~value >>> 0;
}

/** Dot products of one 16-bit vector with many 8-bit ones, in SIMD. */
export { reserve } from './memory';

/**
 * The dot product of a query with each row.
 *
 * Neither a sum nor a part of it exceeds the product of the lengths, about 32,767 * 127: 32 bits hold it.
 *
 * @param query i16, `stride` numbers, 16-aligned.
 * @param rows i8, (count, stride), row-major; beyond the dimensions both hold zeros.
 * @param stride numbers of a row, a multiple of 16.
 * @param target i32, (count,).
 */
export function dots(query: usize, rows: usize, count: i32, stride: usize, target: usize): void {
  let row = rows;
  for (let index = 0; index < count; index++) {
    let even = i32x4.splat(0);
    let odd = even;
    for (let offset: usize = 0; offset < stride; offset += 16) {
      const vector = v128.load(row + offset);
      const from = query + (offset << 1);
      even = i32x4.add(even, i32x4.dot_i16x8_s(i16x8.extend_low_i8x16_s(vector), v128.load(from)));
      odd = i32x4.add(odd, i32x4.dot_i16x8_s(i16x8.extend_high_i8x16_s(vector), v128.load(from, 16)));
    }
    const sum = i32x4.add(even, odd);
    store<i32>(
      target + ((<usize>index) << 2),
      i32x4.extract_lane(sum, 0) + i32x4.extract_lane(sum, 1) + i32x4.extract_lane(sum, 2) + i32x4.extract_lane(sum, 3),
    );
    row += stride;
  }
}

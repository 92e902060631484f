/** Dot products of one 16-bit vector with many 8-bit ones, in plain TypeScript. */

/** Vectors that are searched again and again. */
export interface Rows {
  /** The dot product of a query, (dimensions,), with each row, (count,); valid until the next call. */
  dots(query: Int16Array): Int32Array;
}

/** Makes Rows of vectors, (count, dimensions). */
export type MakeRows = (vectors: Int8Array, dimensions: number) => Rows;

export const plainRows: MakeRows = (vectors, dimensions) => {
  const found = new Int32Array(vectors.length / dimensions);
  return {
    dots(query) {
      for (let row = 0, at = 0; row < found.length; row += 1) {
        let sum = 0;
        for (let index = 0; index < dimensions; index += 1, at += 1) sum += vectors[at]! * query[index]!;
        found[row] = sum;
      }
      return found;
    },
  };
};

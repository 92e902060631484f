/** Vectors on integer grids. */
import { roundHalfEven } from '../rounding.ts';

/** The largest code of a gallery's vector. */
const CODE = 127;

/** The largest code of a query: fine enough that cosines are those of floats to about 1e-5. */
const QUERY_CODE = 32767;

/** A vector as galleries store it: of unit length, times 127, rounded. What points nowhere gives zeros. */
export function quantizeVector(vector: Float32Array): Int8Array {
  return Int8Array.from(onGrid(vector, CODE));
}

/** A vector as a gallery is searched by. */
export function quantizeQuery(vector: Float32Array): Int16Array {
  return Int16Array.from(onGrid(vector, QUERY_CODE));
}

/** Euclidean length. */
export function lengthOf(vector: ArrayLike<number>): number {
  let squares = 0;
  for (let index = 0; index < vector.length; index += 1) squares += vector[index]! ** 2;
  return Math.sqrt(squares);
}

function onGrid(vector: Float32Array, largest: number): Float64Array {
  const length = lengthOf(vector);
  const factor = length > 0 && Number.isFinite(length) ? largest / length : 0;
  return Float64Array.from(vector, (value) => (factor === 0 ? 0 : roundHalfEven(value * factor)));
}

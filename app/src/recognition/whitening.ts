/** From a graph's embedding to the unit vectors that a gallery compares, as `pocketlens.bundle.whitening` does. */
import type { Embedding } from '../bundle/manifest.ts';
import { FailureError } from '../failure.ts';

export class Whitening {
  readonly #mean: Float32Array;
  readonly #scale: Float32Array;
  readonly #codes: Int8Array;
  readonly #centred: Float32Array;

  /**
   * @param content the whitening's member: mean, scale, codes, little-endian.
   * @throws FailureError "corrupt" when it is not as long as its shape makes it, or holds numbers that no map has.
   */
  constructor(
    content: Uint8Array<ArrayBuffer>,
    readonly shape: Embedding,
  ) {
    const { features, dimensions } = shape;
    const length = 4 * features + 4 * dimensions + features * dimensions;
    if (content.length !== length) {
      throw new FailureError(
        'corrupt',
        `the whitening takes ${length} bytes, got ${content.length}; download it again`,
      );
    }
    const view = new DataView(content.buffer, content.byteOffset, content.byteLength);
    this.#mean = Float32Array.from({ length: features }, (_, index) => view.getFloat32(4 * index, true));
    this.#scale = Float32Array.from({ length: dimensions }, (_, row) => view.getFloat32(4 * (features + row), true));
    this.#codes = new Int8Array(content.slice(4 * (features + dimensions)).buffer);
    this.#centred = new Float32Array(features);
    if (!this.#mean.every(Number.isFinite) || !this.#scale.every((scale) => Number.isFinite(scale) && scale > 0)) {
      throw new FailureError('corrupt', 'the whitening is damaged: its mean or scale is no number; download it again');
    }
  }

  /**
   * @param embedding (features,).
   * @returns (dimensions,), unit length; the mean itself, which points nowhere, and what is no number give zeros.
   */
  apply(embedding: Float32Array): Float32Array {
    const { features, dimensions } = this.shape;
    for (let index = 0; index < features; index += 1) this.#centred[index] = embedding[index]! - this.#mean[index]!;
    const vector = new Float64Array(dimensions);
    let squares = 0;
    for (let row = 0, at = 0; row < dimensions; row += 1) {
      let sum = 0;
      for (let index = 0; index < features; index += 1, at += 1) sum += this.#centred[index]! * this.#codes[at]!;
      vector[row] = sum * this.#scale[row]!;
      squares += vector[row]! ** 2;
    }
    const length = Math.sqrt(squares);
    return Float32Array.from(vector, (value) => (length > 0 && Number.isFinite(length) ? value / length : 0));
  }
}

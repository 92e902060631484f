/** Searching a gallery: which of the things that are known by example is this? */
import { FailureError } from '../failure.ts';
import type { GalleryFile, Match } from './gallery.ts';
import { largest } from './largest.ts';
import type { MakeRows, Rows } from './search.ts';
import { lengthOf, quantizeQuery } from './vector.ts';

/** A gallery that is ready to be searched. */
export class Matcher {
  readonly #rows: Rows;
  /** (vectors,): real lengths of the 8-bit rows, which rounding keeps from being 127. */
  readonly #lengths: Float64Array;

  /** Throws FailureError "gallery" when its entries and vectors do not fit together. */
  constructor(
    readonly gallery: GalleryFile,
    makeRows: MakeRows,
  ) {
    const { dimensions } = gallery.backbone;
    const count = gallery.entries.reduce((sum, entry) => sum + entry.vectors, 0);
    if (gallery.vectors.length !== count * dimensions) {
      const detail = `expected ${count} vectors of ${dimensions} dimensions, got ${gallery.vectors.length} numbers`;
      throw new FailureError('gallery', `${detail}; import the gallery again`);
    }
    this.#rows = makeRows(gallery.vectors, dimensions);
    this.#lengths = Float64Array.from({ length: count }, (_, row) =>
      lengthOf(gallery.vectors.subarray(row * dimensions, (row + 1) * dimensions)),
    );
  }

  /**
   * The entries most like a vector, best first; an entry is as like as the best of its vectors.
   *
   * The first is accepted when its cosine reaches the gallery's threshold and leads the second by its margin.
   *
   * @param vector (dimensions,); one of zeros, which points nowhere, is like nothing.
   * @param count at most so many.
   */
  search(vector: Float32Array, count: number): Match[] {
    const { entries, threshold, margin } = this.gallery;
    const query = quantizeQuery(vector);
    const dots = this.#rows.dots(query);
    const queryLength = lengthOf(query);
    const cosines = new Float64Array(entries.length);
    for (let entry = 0, row = 0; entry < entries.length; entry += 1) {
      let best = -Infinity;
      for (const end = row + entries[entry]!.vectors; row < end; row += 1) {
        // What has no length points nowhere: it is like nothing.
        const lengths = queryLength * this.#lengths[row]!;
        best = Math.max(best, lengths > 0 ? Math.min(1, dots[row]! / lengths) : 0);
      }
      cosines[entry] = best;
    }
    const order = largest(cosines, Math.max(2, count));
    const second = order.length > 1 ? cosines[order[1]!]! : -Infinity;
    return order.slice(0, count).map((entry, place) => {
      const { id, label } = entries[entry]!;
      const cosine = cosines[entry]!;
      return { entry, id, label, cosine, accepted: place === 0 && cosine >= threshold && cosine - second >= margin };
    });
  }
}

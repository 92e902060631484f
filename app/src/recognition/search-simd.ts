/** Dot products of one 16-bit vector with many 8-bit ones, in SIMD; app/assembly/search.ts holds the loop. */
import { FailureError } from '../failure.ts';
import { plainRows, type MakeRows } from './search.ts';

/** What assembly/search.ts exports; numbers are addresses, bytes or counts. */
interface Search {
  memory: WebAssembly.Memory;
  reserve(bytes: number): number;
  dots(query: number, rows: number, count: number, stride: number, target: number): void;
}

/** SIMD where there is any, plain TypeScript elsewhere; both give the same numbers. */
export async function loadRows(): Promise<MakeRows> {
  try {
    const response = await fetch(new URL('./search.wasm', import.meta.url));
    return simdRows(await WebAssembly.compile(await response.arrayBuffer()));
  } catch {
    return plainRows;
  }
}

/** @param module assembly/search.ts, compiled. Each gallery gets an instance, so that its memory goes with it. */
export async function simdRows(module: WebAssembly.Module): Promise<MakeRows> {
  // One small instance right away: where it fails, the plain way is taken before any gallery comes.
  await WebAssembly.instantiate(module);
  return (vectors, dimensions) => {
    const search = new WebAssembly.Instance(module).exports as unknown as Search;
    const stride = (dimensions + 15) & ~15;
    const count = vectors.length / dimensions;
    const query = search.reserve(stride * (count + 2) + 4 * count);
    if (query === 0) throw new FailureError('memory', `expected ${stride * count} bytes for a gallery, got none`);
    const rows = query + 2 * stride;
    const held = new Int8Array(search.memory.buffer, rows, stride * count);
    for (let row = 0; row < count; row += 1) {
      held.set(vectors.subarray(row * dimensions, (row + 1) * dimensions), row * stride);
    }
    const asked = new Int16Array(search.memory.buffer, query, dimensions);
    const found = new Int32Array(search.memory.buffer, rows + count * stride, count);
    return {
      dots(vector) {
        asked.set(vector);
        search.dots(query, rows, count, stride, found.byteOffset);
        return found;
      },
    };
  };
}

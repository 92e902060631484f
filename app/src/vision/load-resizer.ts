/** The fastest resizer that this browser runs. */
import { PlainResizer, type Resizer } from './resize.ts';
import { SimdResizer } from './resize-simd.ts';

/** SIMD where there is any, plain TypeScript elsewhere; both give the same pixels. */
export async function loadResizer(): Promise<Resizer> {
  try {
    const response = await fetch(new URL('./resize.wasm', import.meta.url));
    return await SimdResizer.of(await response.arrayBuffer());
  } catch {
    return new PlainResizer();
  }
}

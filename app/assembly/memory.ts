/** The memory that the page lays its data out in. */

/** Makes room for `bytes`; returns where it begins, a multiple of 16, or 0 when there is not that much memory. */
export function reserve(bytes: usize): usize {
  const begin = (__heap_base + 15) & ~15;
  const needed = <i32>((begin + bytes + 0xffff) >>> 16);
  const pages = memory.size();
  return needed > pages && memory.grow(needed - pages) < 0 ? 0 : begin;
}

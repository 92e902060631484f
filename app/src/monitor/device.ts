/** What the browser tells of memory and battery; null where it does not. */

interface Battery {
  level: number;
  charging: boolean;
}

/** Bytes of JavaScript's heap of this page (Chromium; rounded by the browser). */
export function heapBytes(): number | null {
  const { memory } = performance as Performance & { memory?: { usedJSHeapSize: number } };
  return memory?.usedJSHeapSize ?? null;
}

/** The battery's level, 0 to 1 (Chromium on phones and laptops). */
export async function batteryLevel(): Promise<number | null> {
  const { getBattery } = navigator as Navigator & { getBattery?: () => Promise<Battery> };
  try {
    return (await getBattery?.call(navigator))?.level ?? null;
  } catch {
    return null;
  }
}

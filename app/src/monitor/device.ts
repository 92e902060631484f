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

/** Bytes of the page and its workers (Chromium, where the page is isolated). Takes a while: it waits for a collection. */
export async function memoryBytes(): Promise<number | null> {
  const { measureUserAgentSpecificMemory: measure } = performance as Performance & {
    measureUserAgentSpecificMemory?: () => Promise<{ bytes: number }>;
  };
  try {
    return (await measure?.call(performance))?.bytes ?? null;
  } catch {
    return null;
  }
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

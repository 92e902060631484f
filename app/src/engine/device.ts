/** What the browser says about the device it runs on. */

export interface Device {
  /** Logical cores, at least 1. */
  cores: number;
  /** Whether the page is cross-origin isolated, without which there are no threads. */
  isolated: boolean;
  /** Memory as far as the browser tells (0.25 to 8 GB), null where it does not. */
  memoryGb: number | null;
  ios: boolean;
  /** Whether there is a WebGPU to ask for an adapter. */
  webgpu: boolean;
}

/** Of a Navigator, what is read here. */
export interface Hints {
  hardwareConcurrency?: number;
  deviceMemory?: number;
  userAgent: string;
  maxTouchPoints?: number;
  gpu?: unknown;
}

/** This device. */
export function deviceHere(hints: Hints = navigator, isolated = globalThis.crossOriginIsolated === true): Device {
  return {
    cores: Math.max(1, hints.hardwareConcurrency ?? 1),
    isolated,
    memoryGb: hints.deviceMemory ?? null,
    ios: isIos(hints),
    webgpu: Boolean(hints.gpu),
  };
}

/** Every browser on iOS is Safari's engine; an iPad calls itself a Mac, but no Mac has a touch screen. */
function isIos({ userAgent, maxTouchPoints = 0 }: Hints): boolean {
  return /iPad|iPhone|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1);
}

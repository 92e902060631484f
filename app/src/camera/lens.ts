/** Torch and zoom of a video track, where the camera has them; TypeScript's DOM library knows neither yet. */
export interface Lens {
  torch: boolean;
  zoom: { min: number; max: number; step: number } | null;
}

interface LensCapabilities extends MediaTrackCapabilities {
  torch?: boolean;
  zoom?: { min: number; max: number; step: number };
}

interface LensConstraint extends MediaTrackConstraintSet {
  torch?: boolean;
  zoom?: number;
}

/** What the track's camera can do; Firefox has no getCapabilities for all of its tracks. */
export function lensOf(track: MediaStreamTrack): Lens {
  const { torch, zoom } = (track.getCapabilities?.() ?? {}) as LensCapabilities;
  const zooms = zoom !== undefined && zoom.max > zoom.min && zoom.min > 0;
  return { torch: torch === true, zoom: zooms ? { min: zoom.min, max: zoom.max, step: zoom.step || 0.1 } : null };
}

/** Set torch or zoom. Returns whether the camera did so; some claim what they then refuse. */
export async function setLens(
  track: MediaStreamTrack,
  constraint: { torch: boolean } | { zoom: number },
): Promise<boolean> {
  try {
    await track.applyConstraints({ advanced: [constraint as LensConstraint] });
    return true;
  } catch {
    return false;
  }
}

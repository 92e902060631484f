/** Frames of a video as they are shown, one at a time: what comes while one is worked on is passed over. */

export type Frame = ImageBitmap | VideoFrame;

/** What a loop counted since it began. */
export interface FrameCounts {
  shown: number;
  taken: number;
  /** When this frame was shown, by performance.now(). */
  at: number;
}

/**
 * A frame that waited for longer than this share of the last work is left for the next one, so that answers are of what
 * is seen now. A wait too short to be seen never counts.
 */
const STALE = 0.15;
const UNSEEN_MS = 10;

/**
 * Call `work` with the newest frame whenever the last call has ended and the video has shown another since.
 *
 * `work` owns the frame and must close it or hand it on. Returns what ends the loop.
 */
export function eachFrame(
  video: HTMLVideoElement,
  work: (frame: Frame, counts: FrameCounts) => Promise<void>,
): () => void {
  const counts = { shown: 0, taken: 0, at: 0 };
  let lastWork = Infinity;
  let running = true;
  let busy = false;
  let fresh = false;
  let handle = 0;

  const take = async () => {
    if (busy || !fresh || !running) return;
    fresh = false;
    const began = performance.now();
    if (began - counts.at > Math.max(UNSEEN_MS, STALE * lastWork)) return;
    busy = true;
    try {
      const frame = await grab(video);
      if (frame && running) {
        counts.taken++;
        await work(frame, { ...counts });
        lastWork = performance.now() - began;
      } else frame?.close();
    } finally {
      busy = false;
    }
    void take();
  };
  const shown = () => {
    if (!running) return;
    counts.shown++;
    counts.at = performance.now();
    fresh = true;
    void take();
    wait();
  };
  const wait = () => {
    handle = hasCallback(video) ? video.requestVideoFrameCallback(shown) : requestAnimationFrame(shown);
  };
  wait();
  return () => {
    running = false;
    if (hasCallback(video)) video.cancelVideoFrameCallback(handle);
    else cancelAnimationFrame(handle);
  };
}

/** The frame that the video shows now, or null where there is none yet: a camera that starts is 0 x 0. */
export async function grab(video: HTMLVideoElement): Promise<Frame | null> {
  if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA || video.videoWidth === 0 || video.videoHeight === 0)
    return null;
  try {
    // A VideoFrame refers to the camera's own buffer; an ImageBitmap is a copy.
    return 'VideoFrame' in window ? new VideoFrame(video) : await createImageBitmap(video);
  } catch {
    // The camera stopped between the look at its size and the grab.
    return null;
  }
}

/** Its size in pixels, whichever kind it is. */
export function sizeOf(frame: Frame): { width: number; height: number } {
  return 'displayWidth' in frame ? { width: frame.displayWidth, height: frame.displayHeight } : frame;
}

const hasCallback = (video: HTMLVideoElement): boolean => 'requestVideoFrameCallback' in video;

/** From a frame to pixels that can be read, of the part that is needed only. */
import type { Region } from '../engine/protocol.ts';
import { FailureError, failureOf } from '../failure.ts';

/** How large a frame is as it is seen. Throws FailureError "frame" of one that is closed or empty. */
export function sizeOf(frame: ImageBitmap | VideoFrame): { width: number; height: number } {
  const size =
    'displayWidth' in frame
      ? { width: frame.displayWidth, height: frame.displayHeight }
      : { width: frame.width, height: frame.height };
  if (size.width >= 1 && size.height >= 1) return size;
  throw new FailureError('frame', `expected a picture, got one of ${size.width} x ${size.height} px`);
}

/** Grabs pixels, keeping its buffer and canvas from frame to frame. */
export class Grabber {
  #canvas: OffscreenCanvasRenderingContext2D | null = null;
  #buffer = new Uint8ClampedArray(0);
  /** Whether this browser's VideoFrame.copyTo turns camera frames into RGBA; found out by trying. */
  #copies = true;

  /**
   * RGBA pixels of a part of a frame, transparent ones laid on white; valid until the next call.
   *
   * @param region whole pixels, within the frame as it is seen.
   * @throws FailureError "frame" when it cannot be read (it is closed, or its camera went away), or "memory".
   */
  async grab(frame: ImageBitmap | VideoFrame, region: Region): Promise<Uint8ClampedArray> {
    if (this.#copies && 'copyTo' in frame && isPlain(frame)) {
      try {
        return await this.#copy(frame, region);
      } catch {
        this.#copies = false;
      }
    }
    try {
      return this.#draw(frame, region);
    } catch (thrown) {
      const { code, detail } = failureOf(thrown, 'frame');
      throw new FailureError(code, `expected a frame that can be read, got none: ${detail}`, { cause: thrown });
    }
  }

  async #copy(frame: VideoFrame, { x, y, width, height }: Region): Promise<Uint8ClampedArray> {
    const bytes = width * height * 4;
    if (this.#buffer.length !== bytes) this.#buffer = new Uint8ClampedArray(bytes);
    const rect = { x: x + frame.visibleRect!.x, y: y + frame.visibleRect!.y, width, height };
    await frame.copyTo(this.#buffer, { rect, format: 'RGBA', colorSpace: 'srgb' });
    return this.#buffer;
  }

  #draw(frame: ImageBitmap | VideoFrame, { x, y, width, height }: Region): Uint8ClampedArray {
    const context = this.#context(width, height);
    context.globalCompositeOperation = 'copy';
    context.drawImage(frame, x, y, width, height, 0, 0, width, height);
    if (!('displayWidth' in frame)) {
      context.globalCompositeOperation = 'destination-over';
      context.fillRect(0, 0, width, height);
    }
    return context.getImageData(0, 0, width, height).data;
  }

  #context(width: number, height: number): OffscreenCanvasRenderingContext2D {
    const canvas = this.#canvas?.canvas;
    if (canvas?.width === width && canvas.height === height) return this.#canvas!;
    // Pixels are read back from every frame: a canvas on the GPU would be slower.
    const context = new OffscreenCanvas(width, height).getContext('2d', {
      willReadFrequently: true,
      colorSpace: 'srgb',
    });
    if (!context) throw new FailureError('memory', `expected a canvas of ${width} x ${height} px, got none`);
    context.fillStyle = 'white';
    this.#canvas = context;
    return context;
  }
}

/** Whether what is seen is what is stored: not turned, mirrored or stretched, and opaque. */
function isPlain(frame: VideoFrame): boolean {
  const { rotation = 0, flip = false } = frame as VideoFrame & { rotation?: number; flip?: boolean };
  const { width, height } = frame.visibleRect ?? { width: 0, height: 0 };
  const opaque = frame.format !== null && !/A$|^RGBA|^BGRA/.test(frame.format);
  return rotation === 0 && !flip && opaque && width === frame.displayWidth && height === frame.displayHeight;
}

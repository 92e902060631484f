/** From a frame's size to what must be read of it and how it becomes the model's input. */
import type { Preprocessing } from '../bundle/manifest.ts';
import type { Region } from '../engine/protocol.ts';
import { FailureError } from '../failure.ts';
import { roundHalfEven } from '../rounding.ts';
import { axis, type Axis } from './axis.ts';

export interface Plan {
  /** What must be read of the frame; begins on even pixels and has an even size where the frame allows. */
  source: Region;
  /** The horizontal and the vertical pass; their `from` is 0, relative to `source`. */
  across: Axis;
  down: Axis;
  /** Which pass comes first. It matters: between the passes pixels are rounded and clipped to 8 bits. */
  first: 'across' | 'down';
}

/** No resized picture may have more pixels; Python's limit too. */
const MAX_PIXELS = 120_000_000;

/**
 * Plan what `resize` and a centre crop do to a region of a frame, so that only what the crop shows is computed.
 *
 * @param region whole or not, clipped to the frame; null is all of it.
 * @throws FailureError "frame" when there is nothing to see.
 */
export function planOf(
  frame: { width: number; height: number },
  region: Region | null,
  { resize, crop, interpolation }: Preprocessing,
): Plan {
  const { x, y, width, height } = clipped(frame, region);
  const [cropHeight, cropWidth] = crop;
  const [resizedWidth, resizedHeight] = resize === null ? [cropWidth, cropHeight] : resizedTo(width, height, resize);
  // A half rounded to even, as torchvision has it.
  const left = roundHalfEven((resizedWidth - cropWidth) / 2);
  const top = roundHalfEven((resizedHeight - cropHeight) / 2);
  const across = evened(axis(width, resizedWidth, left, cropWidth, interpolation), x, frame.width);
  const down = evened(axis(height, resizedHeight, top, cropHeight, interpolation), y, frame.height);
  return {
    source: { x: across.begin, y: down.begin, width: across.length, height: down.length },
    across: across.axis,
    down: down.axis,
    first: shrinksDown(width - resizedWidth, height - resizedHeight) ? 'down' : 'across',
  };
}

function clipped(frame: { width: number; height: number }, region: Region | null): Region {
  const wanted = region ?? { x: 0, y: 0, ...frame };
  const x = Math.max(0, Math.round(wanted.x));
  const y = Math.max(0, Math.round(wanted.y));
  const width = Math.min(frame.width, Math.round(wanted.x + wanted.width)) - x;
  const height = Math.min(frame.height, Math.round(wanted.y + wanted.height)) - y;
  // Written so that NaN is refused too.
  if (!(width >= 1 && height >= 1)) {
    throw new FailureError('frame', `expected a region within ${frame.width} x ${frame.height} px, got none of it`);
  }
  return { x, y, width, height };
}

/** The short side becomes `shortSide`, the long one is cut down to whole pixels. */
function resizedTo(width: number, height: number, shortSide: number): [number, number] {
  const long = Math.trunc((shortSide * Math.max(width, height)) / Math.min(width, height));
  if (shortSide * long > MAX_PIXELS) {
    throw new FailureError(
      'frame',
      `expected a picture of ordinary proportions, got ${width} x ${height} px, which would grow to ${shortSide} x ${long}`,
    );
  }
  return width <= height ? [shortSide, long] : [long, shortSide];
}

/** Since version 13 Pillow does the vertical pass first when it takes away far more rows than the other columns. */
function shrinksDown(columnsLess: number, rowsLess: number): boolean {
  return rowsLess > 0 && rowsLess > 2 * columnsLess;
}

/** The axis moved to the frame's pixels, read from an even one to an even one: colour comes in blocks of 2 x 2. */
function evened(found: Axis, offset: number, size: number): { begin: number; length: number; axis: Axis } {
  const first = offset + found.from;
  const begin = first - (first % 2);
  const end = first + found.length;
  const length = Math.min(size, end + (end % 2)) - begin;
  const starts = found.starts.map((start) => start + first - begin);
  return { begin, length, axis: { ...found, from: 0, length, starts } };
}

/** Between the screen and the frame: which pixels of the frame lie under the viewfinder. */
import type { Region } from '../engine/protocol.ts';

export interface Box {
  width: number;
  height: number;
}

export interface Point {
  x: number;
  y: number;
}

/** How a frame fills its box, as CSS's object-fit says it. */
export type Fit = 'cover' | 'contain';

/** The viewfinder: a square of the stage, in its pixels. */
export interface Square extends Point {
  side: number;
}

/** The rectangle of the frame that `square` covers, cut at the frame's edges, in whole pixels of the frame. */
export function regionUnder(square: Square, stage: Box, frame: Box, fit: Fit): Region {
  const { scale, left, top } = placed(stage, frame, fit);
  const cut = (value: number, most: number) => Math.round(Math.min(Math.max(value, 0), most));
  const x = cut((square.x - left) / scale, frame.width - 1);
  const y = cut((square.y - top) / scale, frame.height - 1);
  const right = cut((square.x + square.side - left) / scale, frame.width);
  const bottom = cut((square.y + square.side - top) / scale, frame.height);
  return { x, y, width: Math.max(1, right - x), height: Math.max(1, bottom - y) };
}

/** Where a frame lies on the stage. */
function placed(stage: Box, frame: Box, fit: Fit): { scale: number; left: number; top: number } {
  const scales = [stage.width / frame.width, stage.height / frame.height];
  const scale = fit === 'cover' ? Math.max(...scales) : Math.min(...scales);
  return { scale, left: (stage.width - frame.width * scale) / 2, top: (stage.height - frame.height * scale) / 2 };
}

/** How much of the free area the viewfinder takes when nothing was chosen. */
const SHARE = 0.8;
const CHOSEN_SHARE = 0.5;

/**
 * The viewfinder's place: in the middle of the free part of the stage, or, smaller, around the point that was tapped,
 * kept within the free part.
 */
export function viewfinder(free: Box & Point, chosen: Point | null): Square {
  const side = Math.round(Math.min(free.width, free.height) * (chosen ? CHOSEN_SHARE : SHARE));
  const centre = chosen ?? { x: free.x + free.width / 2, y: free.y + free.height / 2 };
  const within = (value: number, from: number, room: number) => Math.min(Math.max(value, from), from + room - side);
  return {
    x: Math.round(within(centre.x - side / 2, free.x, free.width)),
    y: Math.round(within(centre.y - side / 2, free.y, free.height)),
    side,
  };
}

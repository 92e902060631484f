/** A picture that stands still: a frame that was frozen, or a photo from the album. */
import type { Engine } from '../engine/client.ts';
import type { Region } from '../engine/protocol.ts';
import type { Fit } from './geometry.ts';
import { Reader, TOP_K, type Reading } from './reading.ts';

export interface Still {
  /** Another number for each. */
  id: number;
  bitmap: ImageBitmap;
  /** A frozen frame lies where the camera's picture lay; a photo is shown whole. */
  fit: Fit;
}

/** What is in a region of a still; the still stays as it is. */
export async function readStill(
  { engine, searching }: { engine: Engine; searching: boolean },
  { bitmap }: Still,
  region: Region | null,
): Promise<Reading | null> {
  // An engine closes the frames it is given, so it gets a copy.
  const look = await engine.look(await createImageBitmap(bitmap), region, { topK: TOP_K, logits: !searching });
  return look && new Reader(engine.opened).read(look, 0);
}

/** A still as a JPEG file, named by the time of day. */
export async function stillFile({ bitmap }: Still, now = new Date()): Promise<File> {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext('2d')!.drawImage(bitmap, 0, 0);
  const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.92 });
  const stamp = now.toISOString().slice(0, 19).replace(/[:T]/g, '-');
  return new File([blob], `pocketlens-${stamp}.jpg`, { type: blob.type });
}

/** Hand a file to the person, as a download. */
export function download(file: File): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(file);
  link.download = file.name;
  link.click();
  // The download reads the blob after the click returns; a minute later it has it.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

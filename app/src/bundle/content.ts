/** Collecting what a decoder gives, without believing how much it will be. */
import { FailureError } from '../failure.ts';

/** Room is made for this many times what has come: the last step copies a 64th, so hardly more is ever held. */
const GROWTH = 64;
/** Less is made at once. */
const FIRST = 64 * 1024;

/** Bytes that arrive one after the other; more than `limit` of them are refused before they are kept. */
export class Content {
  #held = new Uint8Array(0);
  #length = 0;

  /** @param limit what is said to come, exactly: room is made for so much once a 64th of it is there. */
  constructor(readonly limit: number) {}

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** The next `count` bytes, all 0, for the caller to fill. Throws FailureError "corrupt" beyond the limit. */
  room(count: number): Uint8Array {
    const start = this.#length;
    if (start + count > this.limit) throw excess(this.limit);
    this.#length += count;
    if (this.#length > this.#held.length) this.#grow(start);
    return this.#held.subarray(start, this.#length);
  }

  /** Keep a piece. Throws FailureError "corrupt" beyond the limit. */
  add(piece: Uint8Array): void {
    this.room(piece.length).set(piece);
  }

  /** What is there from `start` on, as a view that holds until more comes. */
  view(start: number, end = this.#length): Uint8Array {
    return this.#held.subarray(start, Math.min(end, this.#length));
  }

  /** All of them; this is empty then. */
  take(): Uint8Array<ArrayBuffer> {
    const whole = this.#length === this.#held.length ? this.#held : this.#held.slice(0, this.#length);
    this.#held = new Uint8Array(0);
    this.#length = 0;
    return whole;
  }

  #grow(kept: number): void {
    let capacity = this.limit;
    while (capacity > FIRST && Math.ceil(capacity / GROWTH) >= this.#length) capacity = Math.ceil(capacity / GROWTH);
    const larger = new Uint8Array(capacity);
    larger.set(this.#held.subarray(0, kept));
    this.#held = larger;
  }
}

export function excess(limit: number): FailureError {
  return new FailureError('corrupt', `unpacks to more than the ${limit} bytes it says; it is refused as unsafe`);
}

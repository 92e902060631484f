/** Collecting what a decoder gives, without believing how much it will be. */
import { FailureError } from '../failure.ts';

/** Bytes that arrive in pieces; more than `limit` of them are refused before they are kept. */
export class BoundedBytes {
  readonly #pieces: Uint8Array[] = [];
  #length = 0;

  constructor(readonly limit: number) {}

  /** How many there are. */
  get length(): number {
    return this.#length;
  }

  /** Keep a piece. Throws FailureError "corrupt" when the limit is passed. */
  add(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > this.limit) {
      throw new FailureError(
        'corrupt',
        `unpacks to more than the ${this.limit} bytes it says; it is refused as unsafe`,
      );
    }
    this.#pieces.push(piece);
  }

  /** All of them as one. */
  take(): Uint8Array<ArrayBuffer> {
    const whole = new Uint8Array(this.#length);
    let end = 0;
    for (const piece of this.#pieces.splice(0)) {
      whole.set(piece, end);
      end += piece.length;
    }
    return whole;
  }
}

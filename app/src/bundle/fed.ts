/** Parsers that are fed: they say how many bytes they want, and get exactly these, however their source is cut. */

/** What a parser wants next. */
export interface Wish {
  /** At least 1. */
  bytes: number;
  /** Whether the source may as well end here. */
  last?: boolean;
}

/** Asks without an end; throws at what it does not understand. What it is given holds until it asks again. */
export type Parser = Generator<Wish, never, Uint8Array>;

/** A parser and what it waits for. */
export class Fed {
  readonly #parser: Parser;
  #wish: Wish;
  /** Used again and again for what comes in more than one piece. */
  #buffer = new Uint8Array(0);
  /** How much of what it wants lies there. */
  #filled = 0;

  constructor(parser: Parser) {
    this.#parser = parser;
    this.#wish = parser.next().value;
  }

  /** The next piece, of any length; it is not kept. */
  push(piece: Uint8Array): void {
    for (let at = 0; at < piece.length;) {
      const { bytes } = this.#wish;
      const some = piece.subarray(at, at + bytes - this.#filled);
      at += some.length;
      if (some.length === bytes) {
        this.#give(some);
        continue;
      }
      if (this.#buffer.length < bytes) this.#buffer = new Uint8Array(bytes);
      this.#buffer.set(some, this.#filled);
      this.#filled += some.length;
      if (this.#filled === bytes) this.#give(this.#buffer.subarray(0, bytes));
    }
  }

  /** Whether the source may end after what was pushed. */
  get mayEnd(): boolean {
    return this.#filled === 0 && this.#wish.last === true;
  }

  #give(bytes: Uint8Array): void {
    this.#filled = 0;
    this.#wish = this.#parser.next(bytes).value;
  }
}

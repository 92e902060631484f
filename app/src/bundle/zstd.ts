/** Undoing zstd within bounds, as it comes: the reference decoder, in WebAssembly. */
import { FailureError } from '../failure.ts';
import { excess } from './content.ts';
import { binary } from './zstd.wasm.js';

/** What the wasm exports; numbers are addresses, bytes or counts. Its default refuses windows above 128 MiB, as we do. */
interface Exports {
  memory: WebAssembly.Memory;
  malloc(bytes: number): number;
  ZSTD_createDCtx(): number;
  /** How many bytes it waits for, roughly: 0 at the end of a frame. Below 0 it is an error. */
  ZSTD_decompressStream(context: number, output: number, input: number): number;
}

/** What one call gets and gives at most. */
const INPUT = 64 * 1024;
const OUTPUT = 128 * 1024;
/** Both ends are described by an address, a size and a position, 32 bits each. */
const SIZE = 4;
const POSITION = 8;
const DESCRIPTION = 12;

let module: WebAssembly.Module | null = null;

/** Compiled once; small enough that a page or worker may do so on the spot. */
function compiled(): WebAssembly.Module {
  return (module ??= new WebAssembly.Module(Uint8Array.from(atob(binary), (letter) => letter.charCodeAt(0))));
}

/** A decoder with a memory of its own, which goes with it. Once it threw, it is of no more use. */
export class Zstd {
  readonly #wasm: Exports;
  readonly #context: number;
  /** The description of the input, that of the output behind it, then both buffers. */
  readonly #input: number;
  readonly #output: number;
  readonly #source: number;
  readonly #target: number;
  /** Whether frames have come and the last of them is whole. */
  #ended = false;

  constructor() {
    const imports = { env: { emscripten_notify_memory_growth: () => undefined } };
    this.#wasm = new WebAssembly.Instance(compiled(), imports).exports as unknown as Exports;
    this.#context = this.#wasm.ZSTD_createDCtx();
    this.#input = this.#wasm.malloc(2 * DESCRIPTION + INPUT + OUTPUT);
    this.#output = this.#input + DESCRIPTION;
    this.#source = this.#output + DESCRIPTION;
    this.#target = this.#source + INPUT;
    if (!this.#context || !this.#input) throw new FailureError('memory', 'there is no room for zstd');
  }

  /**
   * Decode the next piece of one or more frames.
   *
   * @param give gets what comes of it, at most 128 KiB at a time, which it has to copy; throws when that is too much.
   * @throws FailureError "corrupt".
   */
  push(piece: Uint8Array, give: (piece: Uint8Array) => void): void {
    for (let at = 0; at < piece.length; at += INPUT) this.#decode(piece.subarray(at, at + INPUT), give);
  }

  /** That was all, and what comes next stands alone. Throws FailureError "corrupt" when it was not. */
  end(): void {
    if (!this.#ended) throw damaged('cut short');
    this.#ended = false;
  }

  /**
   * Decode whole frames into `target`.
   *
   * @returns how many bytes there are.
   * @throws FailureError "corrupt", also where there are more than `target` has room for.
   */
  decode(coded: Uint8Array, target: Uint8Array): number {
    let length = 0;
    this.push(coded, (piece) => {
      if (length + piece.length > target.length) throw excess(target.length);
      target.set(piece, length);
      length += piece.length;
    });
    this.end();
    return length;
  }

  #decode(piece: Uint8Array, give: (piece: Uint8Array) => void): void {
    const { memory, ZSTD_decompressStream } = this.#wasm;
    new Uint8Array(memory.buffer).set(piece, this.#source);
    this.#describe(this.#input, this.#source, piece.length);
    for (let more = true; more;) {
      this.#describe(this.#output, this.#target, OUTPUT);
      const left = ZSTD_decompressStream(this.#context, this.#output, this.#input);
      if (left < 0)
        throw left === NO_MEMORY ? new FailureError('memory', 'no room for zstd') : damaged(`code ${-left}`);
      this.#ended = left === 0;
      const view = new DataView(memory.buffer);
      const given = view.getUint32(this.#output + POSITION, true);
      // What fills the output may go on without more input, unless a frame ended there.
      more = view.getUint32(this.#input + POSITION, true) < piece.length || (given === OUTPUT && !this.#ended);
      give(new Uint8Array(memory.buffer, this.#target, given));
    }
  }

  #describe(at: number, address: number, size: number): void {
    const view = new DataView(this.#wasm.memory.buffer);
    view.setUint32(at, address, true);
    view.setUint32(at + SIZE, size, true);
    view.setUint32(at + POSITION, 0, true);
  }
}

/** ZSTD_error_memory_allocation. */
const NO_MEMORY = -64;

function damaged(reason: string): FailureError {
  return new FailureError('corrupt', `its zstd data is damaged (${reason})`);
}

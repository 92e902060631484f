/** What can go wrong on the way from a file or a frame to an answer. */

/** Why something failed, in words that a translation can be found for. */
export interface Failure {
  code: 'corrupt' | 'newer' | 'unsupported' | 'memory' | 'runtime' | 'frame' | 'gallery';
  /** English, for logs and the monitor. */
  detail: string;
}

/** A Failure that is thrown: `message` is its detail. */
export class FailureError extends Error {
  override readonly name = 'FailureError';

  constructor(
    readonly code: Failure['code'],
    detail: string,
    options?: ErrorOptions,
  ) {
    super(detail, options);
  }

  /** As data that a message can carry. */
  get failure(): Failure {
    return { code: this.code, detail: this.message };
  }
}

/** What was thrown, as a Failure; anything but a FailureError gets `code`, or "memory" where it says so itself. */
export function failureOf(thrown: unknown, code: Failure['code'] = 'runtime'): Failure {
  if (thrown instanceof FailureError) return thrown.failure;
  const detail = thrown instanceof Error ? thrown.message : String(thrown);
  // The words of V8, JavaScriptCore, SpiderMonkey, Emscripten and ONNX Runtime; none has a type of its own for it.
  const memory =
    /out of memory|\boom\b|enlarge memory|allocation failed|bad_alloc|could not allocate|invalid (array|typed array) length/i;
  return { code: memory.test(detail) ? 'memory' : code, detail };
}

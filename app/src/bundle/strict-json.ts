/** Strict JSON: what two parsers could read differently is refused. */
import { FailureError } from '../failure.ts';

const MAX_DEPTH = 200;
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s"{}[\],:]+/g;

/**
 * UTF-8 JSON as data.
 *
 * @throws FailureError "corrupt" when it is no JSON, is nested too deep, repeats a key, or holds an infinity.
 */
export function parseStrict(payload: Uint8Array): unknown {
  try {
    // A byte order mark is no JSON, and the decoder would swallow it.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(payload);
    const data: unknown = JSON.parse(text);
    checkTokens(text);
    return data;
  } catch (thrown) {
    if (thrown instanceof FailureError) throw thrown;
    throw new FailureError('corrupt', `is no valid JSON (${String(thrown).slice(0, 120)})`);
  }
}

/** On text that is JSON: keys are texts before a colon, and whatever else is no mark is a number or a word. */
function checkTokens(text: string): void {
  const open: (Set<string> | null)[] = [];
  let previous = '';
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') {
      open.push(token === '{' ? new Set() : null);
      if (open.length > MAX_DEPTH) throw new FailureError('corrupt', 'is nested too deep');
    } else if (token === '}' || token === ']') {
      open.pop();
    } else if (token === ':') {
      const key = JSON.parse(previous) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) throw new FailureError('corrupt', `the key ${previous.slice(0, 40)} occurs twice`);
      keys?.add(key);
    } else if (/^[-\d]/.test(token) && !Number.isFinite(Number(token))) {
      throw new FailureError('corrupt', `${token.slice(0, 20)} is not finite`);
    }
    previous = token;
  }
}

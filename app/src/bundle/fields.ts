/** Reading JSON that nobody vouches for: every field is asked for by name and type. */
import { FailureError, type Failure } from '../failure.ts';

/** Control characters (they would steer a terminal) and lone surrogates. */
const UNPRINTABLE = /[\x00-\x1f\x7f-\x9f\p{Cs}]/u;

/**
 * The fields of one JSON object. Each is taken once; `done` refuses what nobody took, since it means something to
 * whoever wrote it. Every method throws a FailureError that names the field, what was expected and what came.
 */
export class Fields {
  readonly #rest: Map<string, unknown>;
  readonly #where: string;
  readonly #code: Failure['code'];

  /**
   * @param data what the JSON held; anything but an object is refused.
   * @param where how to name it in errors, for example "graphs[0]"; "" at the top.
   */
  constructor(data: unknown, where = '', code: Failure['code'] = 'corrupt') {
    this.#where = where;
    this.#code = code;
    if (!isObject(data)) throw this.refusal(`expected an object, got ${kindOf(data)}`);
    this.#rest = new Map(Object.entries(data));
  }

  text(name: string): string {
    const value = this.#take(name);
    if (typeof value !== 'string') throw this.#wrong(name, 'a text', kindOf(value));
    if (UNPRINTABLE.test(value)) throw this.#wrong(name, 'a text without control characters', JSON.stringify(value));
    return value;
  }

  optionalText(name: string): string | null {
    return this.#isNull(name) ? null : this.text(name);
  }

  /** One of `choices`. */
  choice<const C extends string>(name: string, choices: readonly C[]): C {
    const value = this.text(name);
    const found = choices.find((choice) => choice === value);
    if (found === undefined) throw this.#wrong(name, choices.join(' or '), JSON.stringify(value));
    return found;
  }

  /** A SHA-256: 64 lower-case hexadecimal digits. */
  sha256(name: string): string {
    const value = this.text(name);
    if (!/^[0-9a-f]{64}$/.test(value)) throw this.#wrong(name, '64 lower-case hexadecimal digits', value);
    return value;
  }

  /** A date, with or without a time, in ISO 8601. */
  date(name: string): string {
    const value = this.text(name);
    const form = /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?)?$/;
    if (!form.test(value) || Number.isNaN(Date.parse(value.slice(0, 10)))) {
      throw this.#wrong(name, 'a date in ISO 8601', value);
    }
    return value;
  }

  texts(name: string): string[] {
    const values = this.#list(name);
    return values.map((value) => {
      if (typeof value !== 'string') throw this.#wrong(name, 'a list of texts', `a list with ${kindOf(value)}`);
      if (UNPRINTABLE.test(value)) throw this.#wrong(name, 'texts without control characters', JSON.stringify(value));
      return value;
    });
  }

  /** A whole number in low..high, both inclusive. */
  integer(name: string, low: number, high: number): number {
    return this.#within(name, this.#take(name), low, high);
  }

  optionalInteger(name: string, low: number, high: number): number | null {
    return this.#isNull(name) ? null : this.integer(name, low, high);
  }

  integers(name: string, count: number, low: number, high: number): number[] {
    const values = this.#list(name);
    if (values.length !== count) throw this.#wrong(name, `${count} whole numbers`, `${values.length} values`);
    return values.map((value) => this.#within(name, value, low, high));
  }

  /** A finite number. */
  number(name: string): number {
    const value = this.#take(name);
    if (!isFiniteNumber(value)) throw this.#wrong(name, 'a finite number', kindOf(value));
    return value;
  }

  /** A number in low..high, both inclusive. */
  numberWithin(name: string, low: number, high: number): number {
    const value = this.number(name);
    if (value < low || value > high) throw this.#wrong(name, `a number in ${low}..${high}`, `${value}`);
    return value;
  }

  optionalNumber(name: string): number | null {
    return this.#isNull(name) ? null : this.number(name);
  }

  numbers(name: string, count: number): number[] {
    const values = this.#list(name);
    if (values.length !== count || !values.every(isFiniteNumber)) {
      throw this.#wrong(name, `${count} finite numbers`, JSON.stringify(values.slice(0, 8)));
    }
    return values as number[];
  }

  /** An object whose content is free. */
  mapping(name: string): Record<string, unknown> {
    const value = this.#take(name);
    if (!isObject(value)) throw this.#wrong(name, 'an object', kindOf(value));
    return value;
  }

  textsByName(name: string): Record<string, string> {
    const mapping = this.mapping(name);
    for (const [key, value] of Object.entries(mapping)) {
      if (typeof value !== 'string') throw this.#wrong(`${name}.${key}`, 'a text', kindOf(value));
    }
    return mapping as Record<string, string>;
  }

  child(name: string): Fields {
    return new Fields(this.mapping(name), this.#path(name), this.#code);
  }

  optionalChild(name: string): Fields | null {
    return this.#isNull(name) ? null : this.child(name);
  }

  children(name: string): Fields[] {
    return this.#list(name).map((value, index) => new Fields(value, `${this.#path(name)}[${index}]`, this.#code));
  }

  /** An object of objects. As a list of pairs, since a plain object would treat some names as its own. */
  childrenByName(name: string): [string, Fields][] {
    const mapping = this.mapping(name);
    return Object.entries(mapping).map(([key, value]) => [
      key,
      new Fields(value, `${this.#path(name)}.${key}`, this.#code),
    ]);
  }

  /** Refuse fields that nobody took. */
  done(): void {
    if (this.#rest.size === 0) return;
    const names = [...this.#rest.keys()].sort().join(', ').slice(0, 200);
    throw this.refusal(`holds fields that this app does not know: ${names}`);
  }

  /** An error about this object. */
  refusal(detail: string): FailureError {
    return new FailureError(this.#code, `${this.#where || 'the whole'}: ${detail}`);
  }

  #list(name: string): unknown[] {
    const value = this.#take(name);
    if (!Array.isArray(value)) throw this.#wrong(name, 'a list', kindOf(value));
    return value;
  }

  #within(name: string, value: unknown, low: number, high: number): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < low || value > high) {
      throw this.#wrong(name, `a whole number in ${low}..${high}`, kindOf(value));
    }
    return value;
  }

  #take(name: string): unknown {
    if (!this.#rest.has(name)) throw this.#wrong(name, 'it', 'none: the field is missing');
    const value = this.#rest.get(name);
    this.#rest.delete(name);
    return value;
  }

  #isNull(name: string): boolean {
    return this.#rest.get(name) === null && this.#rest.delete(name);
  }

  #path(name: string): string {
    return this.#where ? `${this.#where}.${name}` : name;
  }

  #wrong(name: string, expected: string, got: string): FailureError {
    return new FailureError(this.#code, `${this.#path(name)}: expected ${expected}, got ${got.slice(0, 80)}`);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isFiniteNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  if (typeof value === 'number') return `the number ${value}`;
  return typeof value === 'string' ? 'a text' : `a ${typeof value}`;
}

/**
 * How people write disks: `null,size=1G` or, as in code, `stats(throttle(file(disk.img),
 * iops-total=500))`.
 *
 *     disk      = name [ "(" argument { "," argument } ")" ]     anywhere
 *               | name { "," argument }                          not within parentheses
 *     argument  = parameter "=" value | disk | value
 *     value     = text without "," ")" | '"' text, with \ before " and \ '"'
 *
 * A value without a name is that of the kind's main parameter: `file(disk.img)`. Instead of a name
 * there may be a path of a module (`./my-disk.ts`) whose default export is the disk.
 */
import { StorageError } from '../errors.ts';
import { checkPlan } from './check-plan.ts';
import {
  type DiskKind,
  DiskPlan,
  parameterNames,
  parameterSpec,
  writtenName,
} from './disk-kind.ts';

/** What names mean. */
export interface KnownKinds {
  readonly kinds: readonly DiskKind[];
  /** A plan of what a module exports. */
  planModule(
    path: string,
    parameters: Readonly<Record<string, string>>,
    below: readonly DiskPlan[],
  ): DiskPlan;
}

const MODULE_PATH = /^\.{0,2}\/.*\.[cm]?[jt]s$/;
/** Disks within disks; the rest of the program follows them as deep. */
const MAX_DEPTH = 100;
/** Of what is written, so much is in messages. */
const MAX_SHOWN = 200;
const PARAMETER = /^\s*([A-Za-z][A-Za-z0-9_-]*)=/;

/** Read a disk as people write it. Throws a `StorageError` DISK_OPTION that says where it is wrong. */
export function parseDisk(text: string, known: KnownKinds): DiskPlan {
  const parser = new ExpressionParser(text, known);
  return parser.parse();
}

/** See `parseDisk`. */
class ExpressionParser {
  readonly #text: string;
  readonly #known: KnownKinds;
  #at = 0;
  #depth = 0;

  constructor(text: string, known: KnownKinds) {
    this.#text = text;
    this.#known = known;
  }

  parse(): DiskPlan {
    const plan = this.#disk(true);
    this.#skipSpace();
    if (this.#at < this.#text.length) this.#fail(`expected the end`);
    return plan;
  }

  /** @param isOutermost - its arguments may follow without parentheses. */
  #disk(isOutermost: boolean): DiskPlan {
    this.#skipSpace();
    const start = this.#at;
    const name = this.#until(/[(),\s]/);
    const kind = this.#known.kinds.find((each) => each.name === name);
    const isModule = kind === undefined && MODULE_PATH.test(name);
    if (kind === undefined && !isModule) {
      this.#at = start;
      this.#failKind(name);
    }
    const found = new Arguments(kind);
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) this.#fail(`disks are nested more than ${MAX_DEPTH} deep`);
    this.#skipSpace();
    if (this.#next() === '(') {
      this.#at += 1;
      this.#arguments(found, ')');
      this.#expect(')');
    } else if (isOutermost && this.#next() === ',') {
      this.#at += 1;
      this.#arguments(found, '');
    }
    const plan =
      kind === undefined
        ? this.#known.planModule(name, found.values as Record<string, string>, found.below)
        : new DiskPlan(kind, found.values, found.below);
    checkPlan(plan);
    this.#depth -= 1;
    return plan;
  }

  #arguments(found: Arguments, end: string): void {
    this.#skipSpace();
    if (this.#next() === end) return;
    for (;;) {
      this.#argument(found);
      this.#skipSpace();
      if (this.#next() !== ',') return;
      this.#at += 1;
    }
  }

  #argument(found: Arguments): void {
    this.#skipSpace();
    const start = this.#at;
    const match = PARAMETER.exec(this.#text.slice(start));
    if (match !== null) {
      this.#at += match[0].length;
      this.#put(found, match[1], this.#value(), start);
    } else if (found.kind === undefined || found.kind.below !== 'none') {
      found.below.push(this.#disk(false));
    } else if (found.kind.primary !== undefined) {
      this.#put(found, writtenName(found.kind.primary), this.#value(), start);
    } else {
      this.#fail('expected name=value');
    }
  }

  #put({ kind, values }: Arguments, written: string, value: string, start: number): void {
    const fail = (problem: string): never => {
      this.#at = start;
      return this.#fail(problem);
    };
    const name = kind === undefined ? written : codeName(written);
    if (Object.hasOwn(values, name)) fail(`parameter "${written}" is given twice`);
    if (kind === undefined) {
      values[name] = value;
      return;
    }
    const spec = parameterSpec(kind, name);
    if (spec?.type.secret !== undefined) {
      // Nothing of the text is repeated: the secret is in it.
      throw new StorageError('DISK_OPTION', `${kind.name}: ${written}: ${spec.type.secret}`);
    }
    const parsed = spec?.type.parse(value);
    if (spec === undefined) {
      fail(`unknown parameter "${written}" of ${kind.name}; known: ${parameterNames(kind)}`);
    } else if (parsed === undefined) {
      fail(`${written} is "${value}": expected ${spec.type.expected}`);
    }
    values[name] = parsed;
  }

  #value(): string {
    this.#skipSpace();
    if (this.#next() !== '"') return this.#until(/[,)]/).trimEnd();
    const quoted = /^"((?:[^"\\]|\\.)*)"/.exec(this.#text.slice(this.#at));
    if (quoted === null) this.#fail('the quotation does not end');
    this.#at += quoted[0].length;
    return quoted[1].replace(/\\(.)/g, '$1');
  }

  #until(stop: RegExp): string {
    const rest = this.#text.slice(this.#at);
    const length = rest.search(stop);
    const found = length === -1 ? rest : rest.slice(0, length);
    this.#at += found.length;
    return found;
  }

  #expect(character: string): void {
    this.#skipSpace();
    if (this.#next() !== character) this.#fail(`expected "${character}"`);
    this.#at += 1;
  }

  #next(): string {
    return this.#text.charAt(this.#at);
  }

  #skipSpace(): void {
    while (/\s/.test(this.#next())) this.#at += 1;
  }

  #failKind(name: string): never {
    const known = this.#known.kinds.map((kind) => kind.name).join(', ');
    const hint = /[./]/.test(name) ? `; an image is written file(${name})` : '';
    this.#fail(`unknown kind "${name}"${hint}; known: ${known}, and paths of modules`);
  }

  #fail(problem: string): never {
    const text = inOneLine(this.#text, MAX_SHOWN);
    const rest = inOneLine(this.#text.slice(this.#at), 20);
    const where = this.#at === 0 ? '' : rest === '' ? ', at its end' : `, at "${rest}"`;
    throw new StorageError('DISK_OPTION', `disk "${text}"${where}: ${inOneLine(problem)}`);
  }
}

/** What stands between a disk's parentheses. */
class Arguments {
  /** Absent: a module. */
  readonly kind: DiskKind | undefined;
  readonly values: Record<string, unknown> = {};
  readonly below: DiskPlan[] = [];

  constructor(kind: DiskKind | undefined) {
    this.kind = kind;
  }
}

function inOneLine(text: string, length: number = text.length): string {
  return text.replace(/\s+/g, ' ').slice(0, length);
}

/** `iops-total` as code has it: `iopsTotal`. */
function codeName(written: string): string {
  return written.replace(/-([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

/**
 * A disk that a module exports: `./my-disk.ts,size=1G`. The default export is the object, or a
 * function that makes it.
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { DiskAccess } from '../access/disk-access.ts';
import type { Disk } from '../disk.ts';
import { StorageError } from '../errors.ts';
import { type DiskKind, type DiskLike, DiskPlan, type OpenContext } from '../plan/disk-kind.ts';
import type { DiskObject } from './disk-object.ts';
import { openObjectOver } from './object-over.ts';

/** What a module's function is called with: the text of each parameter, by its name. */
export type ModuleParameters = Readonly<Record<string, string>>;

/** A module's function. `below` are the disks in `./my-filter.ts(file(disk.img))`. */
export type DiskMaker = (
  parameters: ModuleParameters,
  ...below: readonly DiskAccess[]
) => DiskObject | Promise<DiskObject>;

/** Why a module may not be confined. */
const OUTSIDE = 'the methods of a module may need anything';

/** What is said of an ES module that is read as another. */
const MODULE_SYNTAX = /token 'export'|import statement outside a module|'import\.meta' outside/;

/** The plan of a module's disk. @param path - relative to the working directory. */
export function moduleDisk(
  path: string,
  parameters: ModuleParameters = {},
  below: readonly DiskLike[] = [],
): DiskPlan {
  const kind: DiskKind = {
    name: path,
    summary: 'what a module exports',
    below: 'any',
    parameters: 'any',
    open: (context) => openModule(path, context),
  };
  return new DiskPlan(kind, parameters, below);
}

async function openModule(path: string, context: OpenContext<ModuleParameters>): Promise<Disk> {
  const exported = await load(path);
  const below: Disk[] = [];
  for (let index = 0; index < context.belowCount; index++) {
    below.push(await context.openBelow(index));
  }
  const { options, parameters } = context;
  const readOnly = options.readOnly ?? false;
  return openObjectOver(below, (accesses) => make(path, exported, parameters, accesses), {
    kind: path,
    readOnly,
    needsOutside: OUTSIDE,
  });
}

async function load(path: string): Promise<unknown> {
  const file = resolve(path);
  if (!existsSync(file)) {
    throw new StorageError('DISK_OPEN_FAILED', `module ${path}: there is no such file`);
  }
  try {
    const module = (await import(pathToFileURL(file).href)) as { default?: unknown };
    if (module.default !== undefined) return module.default;
  } catch (error) {
    throw new StorageError('DISK_OBJECT', `module ${path}: ${reasonOf(path, error)}`, {
      cause: error,
    });
  }
  const expected = 'expected a disk object, or a function that makes one';
  throw new StorageError('DISK_OBJECT', `module ${path} has no default export: ${expected}`);
}

/** Why a module cannot be loaded, with what to do where that is known. */
function reasonOf(path: string, error: unknown): string {
  const { code, message } = (error ?? {}) as { code?: string; message?: string };
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION') {
    return `Node.js ${process.versions.node} does not load TypeScript: build it first, or use Node.js 22.18 or newer`;
  }
  if (error instanceof SyntaxError && MODULE_SYNTAX.test(error.message)) {
    return 'Node.js takes it for CommonJS: put "type": "module" into its package.json, or call it .mjs or .mts';
  }
  const hint = error instanceof SyntaxError ? `; "node --check ${path}" says where` : '';
  return `it cannot be loaded: ${inOneLine(message ?? String(error))}${hint}`;
}

function inOneLine(text: string): string {
  return text.replace(/\s+/g, ' ');
}

async function make(
  path: string,
  exported: unknown,
  parameters: ModuleParameters,
  accesses: readonly DiskAccess[],
): Promise<DiskObject> {
  if (typeof exported === 'function') {
    try {
      return await (exported as DiskMaker)(parameters, ...accesses);
    } catch (error) {
      const text = `module ${path}: its function failed: ${inOneLine(String(error))}`;
      throw new StorageError('DISK_OBJECT', text, { cause: error });
    }
  }
  const [unknown] = Object.keys(parameters);
  if (unknown !== undefined || accesses.length > 0) {
    const what = unknown === undefined ? 'a disk below' : `parameter "${unknown}"`;
    const text = `module ${path} exports an object, not a function: it takes no ${what.replace(/^a /, '')}`;
    throw new StorageError('DISK_OPTION', text);
  }
  return exported as DiskObject;
}

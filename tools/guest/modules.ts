/**
 * Kernel modules for the guest: found in an unpacked kernel package, decompressed, in the order in
 * which they have to be loaded.
 *
 * The package has no `modules.dep` (depmod makes it at installation), so the dependencies are read
 * where depmod reads them too: in each module's `.modinfo` section.
 */
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { GuestAssetsError, requireProgram, runProgram } from './programs.ts';

/** A module ready for `insmod`. */
export interface KernelModule {
  /** As `lsmod` shows it: with underscores. */
  readonly name: string;
  readonly data: Buffer;
}

/**
 * Some modules and everything they depend on, dependencies first.
 *
 * @param modulesPath - the folder with `modules.order` and `kernel/`.
 * @param names - modules as `lsmod` shows them; one that is built into the kernel is left out.
 */
export function collectModules(modulesPath: string, names: readonly string[]): KernelModule[] {
  const paths = pathsByName(modulesPath, 'modules.order');
  const builtIn = pathsByName(modulesPath, 'modules.builtin');
  const collected = new Map<string, KernelModule>();
  const visit = (name: string): void => {
    if (collected.has(name) || builtIn.has(name)) return;
    const path = paths.get(name);
    if (path === undefined) throw new GuestAssetsError(`${modulesPath} has no module ${name}`);
    const data = readModule(join(modulesPath, path));
    for (const dependency of dependenciesOf(data)) visit(dependency);
    collected.set(name, { name, data });
  };
  for (const name of names) visit(name);
  return [...collected.values()];
}

function pathsByName(modulesPath: string, listName: string): Map<string, string> {
  const lines = readFileSync(join(modulesPath, listName), 'utf8').split('\n');
  return new Map(lines.map((path) => [moduleName(path), path]));
}

function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, '')
    .replaceAll('-', '_');
}

/** The list says `.ko` even where the files are compressed: try what a distribution may have. */
function readModule(listedPath: string): Buffer {
  const path = listedPath.replace(/\.ko(\.\w+)?$/, '.ko');
  const compressed = readIfPresent(`${path}.xz`);
  if (compressed !== undefined) {
    return runProgram(requireProgram('xz', 'xz-utils'), ['-dcq'], { input: compressed });
  }
  const zstd = readIfPresent(`${path}.zst`);
  if (zstd !== undefined) {
    return runProgram(requireProgram('zstd', 'zstd'), ['-dcq'], { input: zstd });
  }
  return readFileSync(path);
}

function readIfPresent(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The `depends=a,b` entry of `.modinfo`: a NUL-terminated string somewhere in the file. */
function dependenciesOf(module: Buffer): string[] {
  const key = Buffer.from('\0depends=');
  const start = module.indexOf(key);
  if (start === -1) return [];
  const valueStart = start + key.length;
  const value = module.toString('latin1', valueStart, module.indexOf(0, valueStart));
  return value.split(',').filter((name) => name !== '');
}

/**
 * Debian packages whose files guests need and this machine does not: downloaded and unpacked, never
 * installed.
 */
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { findProgram, GuestAssetsError, requireProgram, runProgram } from './programs.ts';

/** Fail soon without a network, as a test that could be skipped waits for the answer. */
const APT_OPTIONS = ['-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=20'];

/**
 * Download a package into a folder unless it is there already.
 *
 * @returns the path of the .deb file.
 */
export function downloadPackage(name: string, folder: string, log: (line: string) => void): string {
  const aptGet = findProgram('apt-get');
  if (aptGet === undefined) {
    throw new GuestAssetsError(`${name} is a Debian package, but apt-get is missing`);
  }
  mkdirSync(folder, { recursive: true });
  const present = debOf(folder, name);
  if (present !== undefined) return present;
  log(`downloading ${name}`);
  const incoming = mkdtempSync(join(folder, 'incoming-'));
  try {
    download(aptGet, name, incoming);
    const file = readdirSync(incoming).find((entry) => entry.endsWith('.deb'));
    if (file === undefined) throw new GuestAssetsError(`apt-get download ${name} made no file`);
    renameSync(join(incoming, file), join(folder, file));
    return join(folder, file);
  } finally {
    rmSync(incoming, { recursive: true, force: true });
  }
}

function download(aptGet: string, name: string, folder: string): void {
  try {
    runProgram(aptGet, [...APT_OPTIONS, 'download', name], { cwd: folder });
  } catch (error) {
    // Without a network, or because the package lists are older than the mirror's files.
    const message = error instanceof Error ? error.message : String(error);
    throw new GuestAssetsError(`${message}; try again after: apt-get update`, { cause: error });
  }
}

function debOf(folder: string, name: string): string | undefined {
  const file = readdirSync(folder).find((entry) => entry.startsWith(`${name}_`));
  return file === undefined ? undefined : join(folder, file);
}

/** Unpack a package's files below a folder. */
export function unpackPackage(debPath: string, folder: string): void {
  runProgram(requireProgram('dpkg', 'dpkg'), ['-x', debPath, folder]);
}

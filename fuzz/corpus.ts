/** Cases as files: the corpus, which is part of the project, and what a run has found. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { CaseError, type FuzzCase, formatCase, parseCase } from './action.ts';

const ENDING = '.case';

/** A case with the name of its file. */
export interface NamedCase {
  readonly name: string;
  readonly fuzzCase: FuzzCase;
}

/** @throws CaseError that names the file. */
export function readCase(path: string): NamedCase {
  try {
    return { name: basename(path, ENDING), fuzzCase: parseCase(readFileSync(path, 'utf8')) };
  } catch (error) {
    if (error instanceof CaseError) throw new CaseError(`${path}: ${error.message}`);
    throw error;
  }
}

/** All cases of a folder, by name. */
export function readCorpus(folder: string): readonly NamedCase[] {
  const names = readdirSync(folder).filter((name) => name.endsWith(ENDING));
  return names.sort().map((name) => readCase(join(folder, name)));
}

/** Write a case to a folder, which is made if it is not there. Returns the path. */
export function writeCase(folder: string, name: string, fuzzCase: FuzzCase): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${name}${ENDING}`);
  writeFileSync(path, formatCase(fuzzCase));
  return path;
}

/** Whether an open file still is what its path leads to. */
import { fstatSync, type Stats, statSync } from 'node:fs';
import { isSameFile } from '../../sys/index.ts';

/**
 * What has become of the path of an open file, for a log; `undefined` while it leads to the file.
 * What is open stays in use whatever its name.
 */
export function nameProblem(fd: number, path: string): string | undefined {
  let named: Stats;
  try {
    named = statSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const what =
      code === 'ENOENT' ? 'has been deleted or renamed' : `cannot be looked at (${code})`;
    return `${path} ${what}: ${hint(fd)}`;
  }
  if (isSameFile(fstatSync(fd), named)) return undefined;
  return `${path} is another file by now: ${hint(fd)}`;
}

function hint(fd: number): string {
  const isGone = fstatSync(fd).nlink === 0;
  const fate = isGone ? ', and is lost when the program ends' : '';
  return `the one that was opened is still served${fate}`;
}

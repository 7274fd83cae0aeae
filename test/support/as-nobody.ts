/** Permissions for tests that may run as root, who needs none. */

/** The user with the fewest rights. */
const NOBODY = 65534;

/** Run `body` as nobody if this process is root's, else as who it is. */
export async function asNobody<Result>(body: () => Promise<Result>): Promise<Result> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    return await body();
  } finally {
    if (isRoot) process.seteuid?.(0);
  }
}

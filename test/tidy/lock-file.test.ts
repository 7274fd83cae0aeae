/** `npm ci` installs from the lock file, on each platform that the tools are made for. */
import { strict as assert } from 'node:assert';
import { test } from 'node:test';
import { readSource } from '../support/source-tree.ts';

interface LockFile {
  readonly packages: Readonly<
    Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>
  >;
}

// An npm whose registry has not all of them drops the others, and `npm ci` refuses the result.
test('the lock file has the package of every platform', () => {
  const { packages } = JSON.parse(readSource('package-lock.json').text) as LockFile;
  const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) =>
    Object.keys(optionalDependencies),
  );
  assert(wanted.length > 20, 'the search for optional packages finds too few');
  const missing = wanted.filter((name) => packages[`node_modules/${name}`] === undefined);
  assert.deepEqual(missing, []);
});

/** The units in share/systemd: systemd understands them, and they confine. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { createCommand } from '../../src/cli/vhost-user-blk-options.ts';
import { findProgram } from '../../tools/guest/programs.ts';
import { type CleanUp, imageFolder } from '../support/image-folder.ts';
import { ROOT } from '../support/source-tree.ts';

const UNITS = join(ROOT, 'share/systemd');
const PROGRAM = '/usr/bin/vhost-user-blk';
/** What systemd-analyze calls "SAFE" ends at 2.0 of 10. */
const MAX_EXPOSURE = 1.0;

function unit(kind: string): string {
  return readFileSync(join(UNITS, `vhost-user-blk@.${kind}`), 'utf8');
}

/** Both units as instances, with a program that is there. Returns their paths. */
function instances(t: CleanUp): string[] {
  const folder = imageFolder(t);
  return ['socket', 'service'].map((kind) => {
    const path = join(folder, `vhost-user-blk@disk.${kind}`);
    writeFileSync(path, unit(kind).replace(PROGRAM, process.execPath));
    return path;
  });
}

test('the service uses options that exist, and leaves the socket to systemd', () => {
  const [, line = ''] = /^ExecStart=(.*)$/m.exec(unit('service')) ?? [];
  const used = [...line.matchAll(/--[a-z-]+/g)].map(([name]) => name);
  const known = createCommand('0').options.map(({ long }) => long);
  assert.deepEqual(used, ['--blk-file']);
  for (const name of used) assert.ok(known.includes(name), name);
});

suite('units, as systemd sees them', {
  skip: findProgram('systemd-analyze') === undefined && 'apt-get install systemd',
}, () => {
  test('they are well-formed', (t) => {
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', ...instances(t)], {
      encoding: 'utf8',
    });
    assert.deepEqual([status, stderr], [0, '']);
  });

  test('the service is exposed to little', (t) => {
    const [, service] = instances(t);
    const args = ['security', '--offline=yes', '--no-pager', service];
    const { stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
    const [, level] = /exposure level for \S+: ([\d.]+)/.exec(stdout) ?? [];
    assert.ok(Number(level) <= MAX_EXPOSURE, `${level}: ${stdout}${stderr}`);
  });
});

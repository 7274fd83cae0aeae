/** Who may connect to a socket at a path: from the first moment on, and never more than that. */
import assert from 'node:assert/strict';
import { chmodSync, existsSync, lstatSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { listenAt } from '../../../src/exports/index.ts';
import {
  FileRemoval,
  groupNumber,
  listenUnix,
  SystemError,
  userNumber,
} from '../../../src/sys/index.ts';
import { asNobody } from '../../support/as-nobody.ts';
import { imageFolder } from '../../support/image-folder.ts';

const ROOT_ONLY = process.getuid?.() === 0 ? false : 'needs root for chown; run as root';
const BACKLOG = 1;

function permissions(path: string): number {
  return statSync(path).mode & 0o777;
}

test('the permissions are those asked for, whatever the umask, which stays as it was', (t) => {
  const folder = imageFolder(t);
  const before = process.umask(0o022);
  t.after(() => process.umask(before));
  for (const mask of [0, 0o022, 0o077, 0o777]) {
    process.umask(mask);
    for (const mode of [0o600, 0o660, 0o666, 0o777, 0]) {
      const path = join(folder, `${mask}-${mode}`);
      using _listener = listenUnix(path, BACKLOG, { mode });
      assert.equal(permissions(path), mode);
      assert.equal(process.umask(), mask);
    }
  }
});

test('a server’s socket is its own user’s unless asked otherwise', (t) => {
  const path = join(imageFolder(t), 'socket');
  const socket = listenAt(path);
  assert.equal(permissions(path), 0o600);
  socket.close();
  const shared = listenAt(path, { mode: 0o660 });
  assert.equal(permissions(path), 0o660);
  shared.close();
  assert.equal(existsSync(path), false);
});

test('the owner, the group, or both are changed', { skip: ROOT_ONLY }, (t) => {
  const folder = imageFolder(t);
  const cases = [
    { access: { user: 12 }, uid: 12, gid: 0 },
    { access: { group: 13 }, uid: 0, gid: 13 },
    { access: { user: 12, group: 13, mode: 0o660 }, uid: 12, gid: 13 },
  ];
  for (const [index, { access, uid, gid }] of cases.entries()) {
    const path = join(folder, String(index));
    using _listener = listenUnix(path, BACKLOG, access);
    const stats = lstatSync(path);
    assert.deepEqual([stats.uid, stats.gid], [uid, gid]);
  }
});

test('who may not give it away is told, and no socket is left', { skip: ROOT_ONLY }, async (t) => {
  const folder = imageFolder(t);
  chmodSync(folder, 0o777);
  const path = join(folder, 'socket');
  await asNobody(async () => {
    assert.throws(() => listenAt(path, { user: 0 }), {
      code: 'SOCKET_FAILED',
      message: `cannot change the owner of ${path}: operation not permitted`,
    });
  });
  assert.equal(existsSync(path), false);
});

test('users and groups have numbers by name', () => {
  assert.deepEqual([userNumber('root'), groupNumber('root')], [0, 0]);
  assert.deepEqual(
    [userNumber('no such user'), groupNumber('no such group')],
    [undefined, undefined],
  );
});

test('a removal removes its file, once', (t) => {
  const path = join(imageFolder(t), 'ſocket');
  const listener = listenUnix(path, BACKLOG);
  const removal = new FileRemoval(path);
  removal.remove();
  assert.equal(existsSync(path), false);
  assert.throws(
    () => removal.remove(),
    (error) =>
      error instanceof SystemError && error.code === 'ENOENT' && error.message.includes(path),
  );
  listener.close();
});

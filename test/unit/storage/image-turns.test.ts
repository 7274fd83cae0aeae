/** Several openings of one image: locked later, and in turn for an owner. */
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import {
  type FileDisk,
  ImageTurns,
  NullDisk,
  newTurnByte,
  openFileDisk,
} from '../../../src/storage/index.ts';
import { cannotLoop, loopDevice } from '../../support/host-file-systems.ts';
import { imageFolder } from '../../support/image-folder.ts';

const IMAGE_BYTES = 2 ** 20;
const IN_USE = { name: 'StorageError', code: 'DISK_IN_USE' };

function newImage(t: TestContext): string {
  const path = join(imageFolder(t), 'image');
  writeFileSync(path, Buffer.alloc(IMAGE_BYTES));
  return path;
}

/** An opening as a process for one client has it. */
function member(owner: FileDisk, path: string, turnByte: number): FileDisk {
  const succession = { descriptor: owner.descriptor, turnByte };
  return openFileDisk({ path, succession });
}

function assertLocksLater(path: string): void {
  const first = openFileDisk({ path });
  const second = openFileDisk({ path, locking: 'later' });
  assert.throws(() => second.lock?.acquire(), IN_USE);
  first.close();
  second.lock?.acquire();
  assert.throws(() => openFileDisk({ path }), IN_USE);
  second.close();
  openFileDisk({ path }).close();
}

test('an image can be open before it is locked', (t) => assertLocksLater(newImage(t)));

test('so can a block device, which is nobody else’s then', { skip: cannotLoop() }, (t) => {
  const path = loopDevice(t, newImage(t));
  assertLocksLater(path);
  const disk = openFileDisk({ path, locking: 'later' });
  disk.lock?.acquire();
  assert.throws(() => openFileDisk({ path }), { message: /in use: it is mounted/ });
  disk.close();
});

test('members of a succession share the owner’s lock, and hold it longer than the owner', (t) => {
  const path = newImage(t);
  const owner = openFileDisk({ path });
  const disk = member(owner, path, newTurnByte());
  disk.lock?.acquire();
  owner.close();
  assert.throws(() => openFileDisk({ path }), IN_USE);
  disk.close();
  openFileDisk({ path }).close();
});

test('a member opens what the owner has open, whatever is at the path', (t) => {
  const path = newImage(t);
  const owner = openFileDisk({ path });
  renameSync(path, `${path}.moved`);
  writeFileSync(path, Buffer.alloc(2 * IMAGE_BYTES));
  const disk = member(owner, path, newTurnByte());
  assert.equal(disk.info.sizeBytes, IMAGE_BYTES);
  assert.match(disk.description, new RegExp(`^${path}: `));
  disk.close();
  owner.close();
});

test('it is one member’s turn at a time, until it has let go of the image', (t) => {
  const path = newImage(t);
  const turnByte = newTurnByte();
  const owner = openFileDisk({ path });
  const [first, second] = [member(owner, path, turnByte), member(owner, path, turnByte)];
  const [turns, firstTurns, secondTurns] = [owner, first, second].map(
    (disk) => new ImageTurns(disk, turnByte),
  );
  assert.ok(turns.isFree);
  assert.ok(firstTurns.take());
  assert.ok(!turns.isFree);
  assert.ok(!secondTurns.take());
  // Somebody else's turns are of another byte.
  assert.ok(new ImageTurns(second, turnByte + 1).take());
  first.close();
  assert.ok(turns.isFree);
  assert.ok(secondTurns.take());
  second.close();
  owner.close();
});

test('disks without a file have nothing to wait for', () => {
  const disk = new NullDisk({
    ...{ sizeBytes: 512, readOnly: false, logicalBlockBytes: 512, physicalBlockBytes: 512 },
    ...{ minIoBytes: 0, optimalIoBytes: 0, canDiscard: true, canWriteZeroes: true },
    writeBack: true,
  });
  const turns = new ImageTurns(disk, newTurnByte());
  assert.ok(turns.take() && turns.isFree);
});

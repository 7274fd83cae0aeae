/**
 * The n-th call of a file disk fails, for each n of a scripted session and each way to fail: the
 * request is carried through or gets an error, and no other one suffers.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CACHE_MODES, type CacheMode } from '../../../src/storage/index.ts';
import type { EngineName } from '../../../src/sys/index.ts';
import { DiskSession, ENGINES } from '../../support/disk-session.ts';
import {
  FaultedSession,
  SESSION_DISK_BYTES,
  SESSION_REQUESTS,
} from '../../support/faulted-session.ts';
import { FILE_FAULTS, type FileFault, FileFaults, isTransient } from '../../support/file-faults.ts';
import { imageFolder } from '../../support/image-folder.ts';
import { patternBytes } from '../../support/request-bytes.ts';
import { type FileOperation, openWatchedFile } from '../../support/watched-file.ts';

const CONTENT = patternBytes(SESSION_DISK_BYTES, 999);
const SHARED_MEMORY = '/dev/shm';

interface Place {
  readonly path: string;
  readonly engine: EngineName;
  readonly cache: CacheMode;
  /** Of direct I/O; default: the file's. */
  readonly blockBytes?: number;
}

interface Fault {
  readonly number: number;
  readonly fault: FileFault;
}

/** One session with one fault. Returns how many operations there were. */
function runWith({ path, engine, cache, blockBytes }: Place, { number, fault }: Fault): number {
  writeFileSync(path, CONTENT);
  const faults = new FileFaults(number, fault);
  const what = `${fault} at operation ${number}`;
  const direct = blockBytes && { direct: { memoryBytes: 512, offsetBytes: blockBytes } };
  const disk = openWatchedFile({ path, cache }, faults, (handle) => ({ ...handle, ...direct }));
  faults.fd = disk.descriptor;
  {
    using session = new DiskSession(disk, engine);
    const script = new FaultedSession(session, CONTENT);
    script.run();
    assert.equal(script.outcomes.length, SESSION_REQUESTS);
    checkOutcomes(script, faults.faulted, fault, number);
    script.check(readFileSync(path), what);
  }
  return faults.count;
}

/** What may fail: the request with the fault, and flushes after a flush that has failed. */
function checkOutcomes(
  { outcomes }: FaultedSession,
  faulted: FileOperation | undefined,
  fault: FileFault,
  number: number,
): void {
  const failed = outcomes.filter(({ result }) => result !== 0);
  const what = `${fault} at operation ${number}, ${JSON.stringify(faulted)}`;
  const about = `${what}: ${JSON.stringify(failed)}`;
  const verdict = faulted === undefined ? 'ok' : verdictOn(faulted, fault);
  if (verdict === 'ok') assert.equal(failed.length, 0, about);
  if (verdict === 'error') assert.ok(failed.length > 0, about);
  if (faulted === undefined || failed.length === 0) return;
  if (faulted.kind !== 'sync') {
    assert.equal(failed.length, 1, about);
    if (faulted.slot >= 0) assert.equal(failed[0].slot, faulted.slot, about);
    return;
  }
  const others = failed.filter(({ kind }) => kind !== 'flush');
  assert.ok(others.length <= 1, about);
  // No flush says that all is well after one that failed.
  const { batch: first } = failed[0];
  const later = outcomes.filter(({ kind, batch }) => kind === 'flush' && batch > first);
  assert.ok(
    later.every(({ result }) => result < 0),
    about,
  );
}

/** What a single fault must lead to; calls with a buffer may give up where others go on. */
function verdictOn({ kind, slot }: FileOperation, fault: FileFault): 'ok' | 'error' | 'any' {
  if (fault === 'EOPNOTSUPP') return 'ok';
  if (slot < 0) return fault === 'EIO' || fault === 'ENOSPC' ? 'error' : 'any';
  if (isTransient(fault) || (fault === 'nothing' && kind === 'read')) return 'ok';
  return 'error';
}

function sweep(t: TestContext, place: Omit<Place, 'path'>, folder?: string): void {
  const path = join(imageFolder(t, folder), 'image');
  let faults = 0;
  for (const fault of FILE_FAULTS) {
    // One more than there are: the last session has no fault, and says how many operations it has.
    for (let number = 0; ; number++) {
      faults += 1;
      if (runWith({ path, ...place }, { number, fault }) <= number) break;
    }
  }
  t.diagnostic(`${faults} sessions`);
}

for (const { engine, skip } of ENGINES) {
  for (const cache of CACHE_MODES) {
    test(`${engine}, cache=${cache}: each operation fails in each way`, { skip }, (t) => {
      sweep(t, { engine, cache });
    });

    test(`${engine}, cache=${cache}: a fault that stays is an error, and no loop`, {
      skip,
    }, (t) => {
      const path = join(imageFolder(t), 'image');
      for (const fault of ['EAGAIN', 'EINTR', 'EIO', 'ENOSPC', 'nothing'] as const) {
        for (const number of [0, 3, 7]) {
          runForEver({ path, engine, cache }, { number, fault });
        }
      }
    });
  }

  test(`${engine}, blocks of 4096 bytes: each operation fails in each way`, { skip }, (t) => {
    sweep(t, { engine, cache: 'none', blockBytes: 4096 });
  });

  const missing = existsSync(SHARED_MEMORY) ? false : `${SHARED_MEMORY} is missing`;
  test(`${engine}, in memory: each operation fails in each way`, { skip: skip || missing }, (t) => {
    sweep(t, { engine, cache: 'writeback' }, SHARED_MEMORY);
  });
}

/** From the n-th on all operations fail: every request is answered, none well that did nothing. */
function runForEver({ path, engine, cache }: Place, { number, fault }: Fault): void {
  writeFileSync(path, CONTENT);
  const faults = new FileFaults(number, fault, Number.POSITIVE_INFINITY);
  const disk = openWatchedFile({ path, cache }, faults);
  faults.fd = disk.descriptor;
  using session = new DiskSession(disk, engine);
  const script = new FaultedSession(session, CONTENT);
  script.run();
  const last = script.outcomes.slice(-SESSION_REQUESTS / 2);
  const good = last.filter(({ result }) => result === 0);
  const isReadOfNothing = fault === 'nothing';
  if (!isReadOfNothing) assert.deepEqual(good, [], `${fault} from operation ${number} on`);
  script.check(readFileSync(path), `${fault} from operation ${number} on`);
}

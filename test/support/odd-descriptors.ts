/** Descriptors of kinds that a server has no use for. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call } from '../../src/sys/errors.ts';
import { Fd, Mapping, Open, openFile } from '../../src/sys/index.ts';

const CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** Below the outermost: one more on top of all is refused (ELOOP). */
const MAX_NESTING = 4;

/** A pipe, both of its ends. */
export function createPipe(): Fd {
  const folder = mkdtempSync(join(tmpdir(), 'vhostkit-pipe-'));
  try {
    const path = join(folder, 'pipe');
    execFileSync('mkfifo', [path]);
    return openFile(path, Open.RDWR);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Kept open: an epoll descriptor forgets those it watches when they are closed. */
const nested: Fd[] = [];

/** An epoll descriptor that cannot be watched by another, though it has no file type either. */
export function createNestedEpoll(): Fd {
  const create = (): Fd => new Fd(call('epoll_create1', CLOEXEC), 'epoll');
  while (nested.length < MAX_NESTING) {
    const outer = create();
    if (nested.length > 0) watch(outer, nested[nested.length - 1]);
    nested.push(outer);
  }
  const outermost = create();
  watch(outermost, nested[nested.length - 1]);
  return outermost;
}

function watch(outer: Fd, inner: Fd): void {
  using block = Mapping.anonymous(4096);
  new Uint32Array(block.view(0, 16))[0] = EPOLLIN;
  call('epoll_ctl', outer.number, EPOLL_CTL_ADD, inner.number, block.address);
}

/** Descriptors of kinds that a server has no use for. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call } from '../../src/sys/errors.ts';
import { closeAll, Fd, Mapping, Open, openFile } from '../../src/sys/index.ts';

const CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
/** epoll descriptors may watch each other so deep; one more on top is refused (ELOOP). */
const MAX_NESTING = 5;

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

/** An epoll descriptor that cannot be watched by another, though it has no file type either. */
export function createNestedEpoll(): Fd {
  using block = Mapping.anonymous(4096);
  new Uint32Array(block.view(0, 16))[0] = EPOLLIN;
  const chain = Array.from(
    { length: MAX_NESTING },
    () => new Fd(call('epoll_create1', CLOEXEC), 'epoll'),
  );
  for (let level = 1; level < chain.length; level++) {
    call('epoll_ctl', chain[level].number, EPOLL_CTL_ADD, chain[level - 1].number, block.address);
  }
  closeAll(chain.slice(1, -1));
  return chain[MAX_NESTING - 1];
}

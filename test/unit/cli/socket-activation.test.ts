/** What LISTEN_PID and LISTEN_FDS say: sd_listen_fds(3). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../../src/cli/program.ts';
import { activationSocket } from '../../../src/cli/socket-activation.ts';

const PID = 4711;

function socketIn(environment: NodeJS.ProcessEnv): number | undefined {
  return activationSocket(environment, PID);
}

test('one socket is the first descriptor that is passed, whatever its name', () => {
  const environment = { LISTEN_PID: '4711', LISTEN_FDS: '1', LISTEN_FDNAMES: 'disk' };
  assert.equal(socketIn(environment), 3);
});

test('without the variables, with those of another process, or with no socket there is none', () => {
  const others: readonly NodeJS.ProcessEnv[] = [
    {},
    { LISTEN_FDS: '1' },
    { LISTEN_PID: '4711' },
    { LISTEN_PID: '4712', LISTEN_FDS: '1' },
    { LISTEN_PID: '4711', LISTEN_FDS: '0' },
    { LISTEN_PID: '4712', LISTEN_FDS: '2' },
  ];
  for (const environment of others) assert.equal(socketIn(environment), undefined);
});

test('several sockets, and what is no number, are refused', () => {
  const wrong: readonly (readonly [NodeJS.ProcessEnv, RegExp])[] = [
    [{ LISTEN_PID: '4711', LISTEN_FDS: '2' }, /one socket can be served/],
    [{ LISTEN_PID: '4711', LISTEN_FDS: 'x' }, /LISTEN_FDS=x: it must be a number/],
    [{ LISTEN_PID: '4711', LISTEN_FDS: '-1' }, /LISTEN_FDS=-1: it must be a number/],
    [{ LISTEN_PID: '', LISTEN_FDS: '1' }, /LISTEN_PID=: it must be a number/],
  ];
  for (const [environment, reason] of wrong) {
    assert.throws(
      () => socketIn(environment),
      (error) => error instanceof UsageError && reason.test(error.message),
    );
  }
});

/**
 * A program for tests: receives descriptors while it may open no more of them, and prints what
 * came of it as JSON. To be run with a low limit of open files.
 */
import { openSync } from 'node:fs';
import { SystemError } from '../../src/sys/errors.ts';
import { createEventFd } from '../../src/sys/eventfd.ts';
import { Fd } from '../../src/sys/fd.ts';
import { createSocketPair, receiveMessage, sendMessage } from '../../src/sys/unix-socket.ts';
import { openDescriptors } from './open-descriptors.ts';

const SENT = 8;
const FREE = 3;

function fillDescriptorTable(): Fd[] {
  const fds: Fd[] = [];
  for (;;) {
    try {
      fds.push(new Fd(openSync('/dev/null', 'r'), 'filler'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EMFILE') return fds;
      throw error;
    }
  }
}

function receiveCode(socket: number): string {
  try {
    const received = receiveMessage(socket, new Uint8Array(16));
    return `${received?.fds.length} descriptors`;
  } catch (error) {
    if (error instanceof SystemError) return error.code;
    throw error;
  }
}

const [left, right] = createSocketPair();
const event = createEventFd();
sendMessage(left.number, Uint8Array.of(1), new Array<Fd>(SENT).fill(event));
const before = openDescriptors();
const fillers = fillDescriptorTable();
for (const filler of fillers.slice(0, FREE)) filler.close();
const outcome = receiveCode(right.number);
for (const filler of fillers.slice(FREE)) filler.close();
const leaked = openDescriptors().filter((line) => !before.includes(line));
process.stdout.write(JSON.stringify({ outcome, leaked }));

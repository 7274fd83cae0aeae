/** The processes of a server with `--isolate`, seen from outside. */
import { readFileSync } from 'node:fs';
import { eventually } from './eventually.ts';
import type { ServerProgram } from './server-program.ts';

/** Whether a process runs: one that has ended and is not waited for does not. */
export function isAlive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** Which process serves a client: needs `--log-level=debug`. */
export async function servingProcess(server: ServerProgram, client: number): Promise<number> {
  const [, pid] = await server.logged(new RegExp(`client ${client} is served by process (\\d+)`));
  return Number(pid);
}

/** The process that is prepared for the next client. */
export async function preparedProcess(server: ServerProgram, previous = 0): Promise<number> {
  return eventually('a process is prepared', () => {
    const lines = [...server.stderr.matchAll(/process (\d+) is prepared/g)];
    const pid = Number(lines.at(-1)?.[1]);
    return pid !== previous && isAlive(pid) && pid;
  });
}

/** Wait until a process has gone. */
export async function gone(pid: number): Promise<void> {
  await eventually(`process ${pid} ends`, () => !isAlive(pid));
}

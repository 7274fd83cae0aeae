/** Web servers that others have written, for a test. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { TestContext } from 'node:test';
import { findProgram } from '../../tools/guest/programs.ts';
import { untilListening } from './listening-program.ts';
import { spawnTied } from './tied-process.ts';

/** Why a program is not there, with what to install; false if it is. */
export function missing(program: string, install: string): string | false {
  if (findProgram(program) !== undefined) return false;
  return `${program} is missing; install it: apt-get install ${install}`;
}

/** Why there is no busybox with a web server here, with what to install; false if there is. */
export function noBusybox(): string | false {
  const install = 'busybox with httpd is missing; install it: apt-get install busybox-static';
  if (missing('busybox', 'busybox-static')) return install;
  const { stdout } = spawnSync('busybox', ['--list'], { encoding: 'utf8' });
  return stdout.split('\n').includes('httpd') ? false : install;
}

const SERVERS = {
  busybox: (port: number, folder: string) => [
    ...['busybox', 'httpd', '-f', '-p', `127.0.0.1:${port}`, '-h', folder],
  ],
  python: (port: number, folder: string) => [
    ...['python3', '-m', 'http.server', String(port), '--bind', '127.0.0.1', '--directory', folder],
  ],
};

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Which one: busybox's answers range requests, Python's does not. */
export type WebServerName = keyof typeof SERVERS;

/** Serve a folder until the test ends. Returns the folder's URL, without a slash at its end. */
export async function startWebServer(
  t: TestContext,
  server: WebServerName,
  folder: string,
): Promise<string> {
  const port = await freePort();
  const [program, ...args] = SERVERS[server](port, folder);
  const child = spawnTied(program, args, 'ignore');
  t.after(() => child.child.kill('SIGKILL'));
  await untilListening({ port, host: '127.0.0.1' });
  return `http://127.0.0.1:${port}`;
}

/**
 * `npm run demo`: makes a disk image, serves it with `vhost-user-blk`, drives it through the
 * built-in front-end as a guest would, verifies the data on the way and in the file, measures, and
 * says how to attach a guest. Needs no QEMU.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Client } from '../bench/processes.ts';
import type { Workload } from '../bench/workload.ts';
import { AttachedHome, createReactor } from '../src/sys/index.ts';
import { BlockDriver } from '../src/testing/index.ts';
import { RequestType, SECTOR_BYTES, Status } from '../src/virtio-blk/index.ts';
import { BLOCK_BYTES, makeImage, Pattern } from './demo/image.ts';

const IMAGE_BYTES = 256 * 1024 * 1024;
const BLOCKS = IMAGE_BYTES / BLOCK_BYTES;
const SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES;
const DEPTH = 16;
const START_TIMEOUT_MS = 10_000;
const START_POLL_MS = 10;
const MEGABYTE = 1e6;
const MEBIBYTE = 2 ** 20;
const SERVER = fileURLToPath(new URL('../src/cli/vhost-user-blk.js', import.meta.url));

async function startServer(socketPath: string, imagePath: string): Promise<ChildProcess> {
  const args = [SERVER, `--socket-path=${socketPath}`, `--blk-file=${imagePath}`];
  console.log(`$ vhost-user-blk --socket-path=${socketPath} --blk-file=${imagePath}`);
  const server = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const deadlineMs = performance.now() + START_TIMEOUT_MS;
  while (!existsSync(socketPath)) {
    if (server.exitCode !== null) throw new Error('the server has ended, see above');
    if (performance.now() > deadlineMs) throw new Error('the server does not listen');
    await sleep(START_POLL_MS);
  }
  return server;
}

/** Do `work` for all blocks, several at a time, and print how fast that was. */
async function overAllBlocks(verb: string, work: (block: number) => Promise<void>): Promise<void> {
  const startedMs = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let block = next++; block < BLOCKS; block = next++) await work(block);
  };
  await Promise.all(Array.from({ length: DEPTH }, worker));
  const seconds = (performance.now() - startedMs) / 1000;
  const rate = (IMAGE_BYTES / seconds / MEGABYTE).toFixed(0);
  console.log(`${verb.padEnd(8)} ${IMAGE_BYTES / MEBIBYTE} MiB at ${rate} MB/s`);
}

async function verifyThroughDriver(socketPath: string, pattern: Pattern): Promise<void> {
  const { reactor } = createReactor('attached');
  const home = new AttachedHome(reactor);
  const driver = await BlockDriver.open({ reactor, socketPath });
  console.log(`\nthe built-in front-end is connected (engine ${reactor.engine})`);
  await overAllBlocks('wrote', async (block) => {
    await driver.write(block * SECTORS_PER_BLOCK, pattern.block(block));
  });
  const flush = await driver.request({ type: RequestType.FLUSH });
  if (flush.status !== Status.OK) throw new Error(`flush: status ${flush.status}`);
  await overAllBlocks('verified', async (block) => {
    const data = await driver.read(block * SECTORS_PER_BLOCK, SECTORS_PER_BLOCK);
    if (!pattern.block(block).equals(data)) throw new Error(`block ${block} reads back wrong`);
  });
  driver.close();
  home.close();
  reactor[Symbol.dispose]();
}

async function measure(socketPath: string): Promise<void> {
  console.log('\n4 KiB requests, one queue, client and server on this machine:');
  const client = await Client.connectTo(socketPath);
  const base = { pattern: 'random', blockBytes: 4096, queues: 1, polled: false } as const;
  const workloads: readonly Workload[] = [
    { ...base, operation: 'read', depth: 1 },
    { ...base, operation: 'read', depth: 32 },
    { ...base, operation: 'write', depth: 32 },
  ];
  for (const workload of workloads) {
    const result = await client.run({ workload, seconds: 1, diskBytes: IMAGE_BYTES });
    const iops = result.requests / result.seconds;
    console.log(
      `  random ${workload.operation.padEnd(5)} depth ${String(workload.depth).padStart(2)}: ` +
        `${(iops / 1000).toFixed(0).padStart(4)}k IOPS, ` +
        `${((iops * workload.blockBytes) / MEGABYTE).toFixed(0).padStart(5)} MB/s, ` +
        `p99 ${result.p99Us.toFixed(0)} us`,
    );
  }
  await client.close();
}

function printQemuCommand(): void {
  console.log(`
To give a disk of yours to a guest (QEMU must share the guest's memory):

npx vhost-user-blk --socket-path=/tmp/disk0.sock --blk-file=disk.img

qemu-system-x86_64 -machine q35,accel=kvm -smp 4 -m 2G \\
  -object memory-backend-memfd,id=mem,size=2G,share=on -numa node,memdev=mem \\
  -chardev socket,id=disk0,path=/tmp/disk0.sock \\
  -device vhost-user-blk-pci,chardev=disk0,num-queues=4,bootindex=1`);
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vhostkit-demo-'));
  const socketPath = join(folder, 'disk.sock');
  const imagePath = join(folder, 'disk.img');
  let server: ChildProcess | undefined;
  try {
    makeImage(imagePath, IMAGE_BYTES);
    const pattern = new Pattern();
    server = await startServer(socketPath, imagePath);
    await verifyThroughDriver(socketPath, pattern);
    const wrong = pattern.firstWrongBlock(imagePath, BLOCKS);
    if (wrong >= 0) throw new Error(`block ${wrong} of the image is not what was written`);
    console.log('the image on the host has the same data');
    await measure(socketPath);
    printQemuCommand();
  } finally {
    if (server !== undefined && server.exitCode === null) {
      const exited = once(server, 'exit');
      server.kill('SIGTERM');
      await exited;
    }
    rmSync(folder, { recursive: true, force: true });
  }
  if (server.exitCode !== 0) throw new Error(`the server ended with ${server.exitCode}`);
  console.log('\nall is well');
}

try {
  await main();
  process.exit(0);
} catch (error) {
  console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
}

/** The conformance suite over disks on servers, which are in this process. */
import { after } from 'node:test';
import { http, nbd } from '../../../src/storage/index.ts';
import { describeConformance, zeros } from '../../support/disk-conformance.ts';
import { type FakeNbdOptions, FakeNbdServer } from '../../support/fake-nbd-server.ts';
import { ALL_FLAGS, FLAGS } from '../../support/nbd-messages.ts';
import { RangeServer } from '../../support/range-server.ts';
import { patternBytes } from '../../support/request-bytes.ts';

const MIB = 2 ** 20;
const CONTENT = patternBytes(MIB + 700);

const servers: AsyncDisposable[] = [];
after(async () => {
  for (const server of servers) await server[Symbol.asyncDispose]();
});

/** One server for each place: a disk that is opened again finds what it has written. */
function onePerPlace<Server extends AsyncDisposable>(
  start: () => Promise<Server>,
): (place: object) => Promise<Server> {
  const known = new WeakMap<object, Server>();
  return async (place) => {
    const server = known.get(place) ?? (await start());
    if (!known.has(place)) servers.push(server);
    known.set(place, server);
    return server;
  };
}

function serverOf(options: FakeNbdOptions): (place: object) => Promise<FakeNbdServer> {
  return onePerPlace(() => FakeNbdServer.start(options));
}

const NBD_TRAITS = {
  isPersistent: true,
  content: zeros,
  discard: 'zeros',
  ordersRequests: true,
} as const;

const ways: [name: string, options: FakeNbdOptions, parameters: object][] = [
  ['nbd, several connections', { flags: ALL_FLAGS | FLAGS.multiConn }, { connections: 3 }],
  ['nbd, without structured replies', { options: { 8: false } }, { reconnect: 0 }],
  ['nbd, cut to 4 KiB', { blockSizes: [512, 4096, 4096] }, {}],
  ['nbd, blocks of 4 KiB', { blockSizes: [4096, 4096, MIB] }, {}],
];
for (const [name, options, parameters] of ways) {
  const server = serverOf(options);
  describeConformance(
    name,
    async (place) => nbd((await server(place)).uri, parameters),
    NBD_TRAITS,
  );
}

const readOnly = serverOf({ flags: ALL_FLAGS | FLAGS.readOnly });
describeConformance('nbd, read-only', async (place) => nbd((await readOnly(place)).uri), {
  readOnly: true,
  content: zeros,
});

const web = onePerPlace(() => RangeServer.start({ content: Buffer.from(CONTENT), etag: '"one"' }));
describeConformance('http', async (place) => http((await web(place)).url, { cacheSize: 2 ** 18 }), {
  readOnly: true,
  isPersistent: true,
  content: (offset, bytes) => {
    const found = new Uint8Array(bytes);
    found.set(CONTENT.subarray(offset, offset + bytes));
    return found;
  },
  info: { sizeBytes: MIB + 1024 },
});

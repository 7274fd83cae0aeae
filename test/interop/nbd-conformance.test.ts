/** The conformance suite over exports of NBD servers that others have written. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { nbd } from '../../src/storage/index.ts';
import { describeConformance, zeros } from '../support/disk-conformance.ts';
import { NbdPeer, nbdRequirements } from '../support/nbd-peer.ts';

const cleanUps: (() => void)[] = [];
const cleaner = { after: (clean: () => void) => void cleanUps.push(clean) };
after(() => {
  for (const clean of cleanUps.reverse()) clean();
});

const SERVERS: [program: string, args: (image: string) => string[]][] = [
  ['nbdkit', (image) => ['file', image]],
  ['qemu-nbd', (image) => ['--format=raw', '--shared=8', '--discard=unmap', image]],
];
for (const [program, args] of SERVERS) {
  const missing = nbdRequirements(program);
  if (missing !== false) {
    test(`conformance of nbd with ${program}`, { skip: missing }, () => {});
    continue;
  }
  const known = new WeakMap<object, NbdPeer>();
  describeConformance(
    `nbd with ${program}`,
    async (place) => {
      const image = join(place.folder, 'image');
      if (!known.has(place)) {
        writeFileSync(image, new Uint8Array(2 ** 20));
        known.set(place, await NbdPeer.start(cleaner, program, args(image)));
      }
      return nbd(known.get(place)?.uri ?? '');
    },
    { isPersistent: true, content: zeros, discard: 'zeros-or-kept', ordersRequests: true },
  );
}

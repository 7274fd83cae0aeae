/** Checks of disks that are opened, closed, and opened again. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { openAccess } from '../../src/storage/index.ts';
import { type DiskCheck, openIt, withAccess } from './conformance-place.ts';
import type { DiskModel } from './disk-model.ts';
import { collectUntil } from './memory-maps.ts';
import { openDescriptors } from './open-descriptors.ts';
import { until } from './within.ts';

/** Memory shared with the kernel, or with others: rings, memory files. */
function sharedMappings(): number {
  const lines = readFileSync('/proc/self/maps', 'utf8').split('\n');
  return lines.filter((line) => /^\S+ rw-s/.test(line)).length;
}

/** What a disk has open, without the event loop's own. */
function descriptors(): string[] {
  return openDescriptors().map((line) => line.replace(/^\d+ -> /, ''));
}

/** See the module's comment. */
export const lifeChecks: readonly DiskCheck[] = [
  {
    name: 'closed, it leaves nothing open and nothing mapped',
    run: async (disk) => {
      const use = (): Promise<void> =>
        withAccess(disk, async (modelled) => {
          const { access } = modelled;
          const bytes = new Uint8Array(access.info.logicalBlockBytes);
          await access.read(bytes, 0);
          if (!access.info.readOnly) await access.write(bytes, 0);
          await access.flush();
        });
      // What is made once for the process is there after the first time.
      await use();
      const before = descriptors().sort();
      const mappings = sharedMappings();
      for (let round = 0; round < 3; round++) await use();
      await until(
        () => descriptors().length <= before.length,
        () => `open: ${descriptors().sort().join(', ')}, not ${before.join(', ')}`,
      );
      const isUnmapped = await collectUntil(() => sharedMappings() <= mappings);
      assert.ok(isUnmapped, `${sharedMappings()} shared mappings, not ${mappings}`);
    },
  },
  {
    name: 'closed without having been used, it can be opened again',
    run: async (disk) => {
      for (let round = 0; round < 2; round++) await (await openIt(disk)).close();
      const open = await openIt(disk);
      const [one, other] = [openAccess(open), openAccess(open)];
      await one.read(new Uint8Array(open.info.logicalBlockBytes), 0);
      one.close();
      await other.read(new Uint8Array(open.info.logicalBlockBytes), 0);
      other.close();
      await open.close();
    },
  },
  {
    name: 'what was written is there when it is opened again',
    isFor: ({ isPersistent, readOnly }) => isPersistent === true && readOnly !== true,
    run: async (disk) => {
      let model: DiskModel | undefined;
      for (const [round, ending] of ['flush', 'close', 'stable'].entries()) {
        await withAccess(
          disk,
          async (modelled, open) => {
            if (model !== undefined) await modelled.check(`opened again, before ${ending}`);
            model = modelled.model;
            const { access } = modelled;
            assert.equal(open.currentSizeBytes(), access.info.sizeBytes);
            await modelled.fill(round * 1000 + 1);
            const bytes = 8 * access.info.logicalBlockBytes;
            const stable = ending === 'stable';
            const flags = { stable, mayUnmap: true, skew: 0, seed: round };
            await modelled.run([
              { ...flags, kind: 'write', at: 0, bytes },
              { ...flags, kind: 'zero', at: 2 * bytes, bytes },
              { ...flags, kind: 'discard', at: 4 * bytes, bytes },
              { ...flags, kind: 'write', at: 6 * bytes, bytes: bytes / 8 },
            ]);
            if (ending === 'flush') await access.flush();
          },
          model,
        );
      }
      await withAccess(disk, (modelled) => modelled.check('opened again'), model);
    },
  },
];

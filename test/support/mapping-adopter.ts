/** A worker for tests: adopts a mapping, and looks at it or lets it go when told to. */
import { parentPort, workerData } from 'node:worker_threads';
import { Mapping, type MappingHandle } from '../../src/sys/mapping.ts';
import { collectUntil, isMapped } from './memory-maps.ts';

/** `look` answers the first byte, `poke` writes 77 there, `close` drops the view and lets go. */
export type AdopterCommand = 'look' | 'poke' | 'close';

const mapping = Mapping.adopt(workerData as MappingHandle);
let bytes: Uint8Array | undefined = new Uint8Array(mapping.view(0, 4096));

/** Let go, and go on collecting garbage: the range ends when the view is found dead. */
async function close(): Promise<void> {
  bytes = undefined;
  mapping.close();
  await collectUntil(() => !isMapped(mapping.address), 20);
}

parentPort?.on('message', (command: AdopterCommand) => {
  if (command === 'close') {
    void close().then(() => parentPort?.postMessage('closed'));
    return;
  }
  if (command === 'poke') bytes?.fill(77, 0, 1);
  parentPort?.postMessage(bytes?.[0]);
});

/**
 * Makes what test guests boot from: `node dist/tools/guest-assets.js [--rebuild]`.
 *
 * `--rebuild` makes it again, from the newest kernel, though it is there already.
 */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureGuestAssets, type GuestAssets } from './guest/assets.ts';
import { GuestAssetsError } from './guest/programs.ts';

export { ensureGuestAssets, type GuestAssets, GuestAssetsError };

function main(args: readonly string[]): number {
  const unknown = args.find((argument) => argument !== '--rebuild');
  if (unknown !== undefined) {
    console.error(`guest-assets: unknown argument ${unknown}; usage: guest-assets [--rebuild]`);
    return 2;
  }
  try {
    const rebuild = args.includes('--rebuild');
    const assets = ensureGuestAssets({ rebuild, log: (line) => console.log(line) });
    console.log(`guests boot Linux ${assets.release} from ${dirname(assets.kernelPath)}`);
    return 0;
  } catch (error) {
    if (!(error instanceof GuestAssetsError)) throw error;
    console.error(`guest-assets: ${error.message}`);
    return 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = main(process.argv.slice(2));
}

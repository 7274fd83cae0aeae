/**
 * A disk whose image is on a web server, and neither the server nor this machine's overlay has a
 * byte of it in the clear: what the guest reads comes encrypted over http, what it writes is
 * encrypted in a file here, and the passphrase stays in this process.
 *
 *     node encrypted-overlay.ts https://example.org/disk.luks overlay.cow passphrase disk.sock
 *
 * The image is a LUKS container, of cryptsetup, qemu-img or `formatLuks`; the file `passphrase` has
 * its passphrase, to the byte. Run again with the same overlay, the guest finds what it has written.
 *
 * On the command line: `--disk 'encrypt(copy-on-write(http(URL), overlay=overlay.cow),
 * passphrase-file=passphrase)'`.
 */
import { copyOnWrite, encrypt, http, StorageError, serve } from 'vhostkit';

const [url, overlay, passphraseFile, socketPath] = process.argv.slice(2);
if (socketPath === undefined) {
  console.error('usage: encrypted-overlay URL OVERLAY PASSPHRASE-FILE SOCKET');
  process.exit(2);
}

const disk = encrypt(copyOnWrite(http(url), { overlay }), { passphraseFile });
try {
  const server = await serve({ socketPath, disk });
  console.log(`serving ${server.disk.info.sizeBytes} bytes at ${socketPath}`);
  process.once('SIGTERM', () => void server.close());
  await server.ended;
} catch (error) {
  if (!(error instanceof StorageError)) throw error;
  console.error(`encrypted-overlay: ${error.message}`);
  process.exitCode = 1;
}

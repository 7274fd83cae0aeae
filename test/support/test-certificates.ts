/** A certificate authority for one test, by openssl, in a folder as NBD programs want it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './nbd-peer.ts';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** Make ca-cert.pem, and key and certificate of `server` and `client`, for the name `localhost`. */
export async function makeCertificates(folder: string): Promise<void> {
  const at = (name: string): string => join(folder, name);
  const ca = ['-keyout', at('ca-key.pem'), '-out', at('ca-cert.pem')];
  await run(
    'openssl',
    'req',
    '-x509',
    ...NEW_KEY,
    ...ca,
    '-subj',
    '/CN=test authority',
    '-days',
    '2',
  );
  writeFileSync(at('names'), 'subjectAltName=DNS:localhost\n');
  for (const who of ['server', 'client']) {
    const request = ['-keyout', at(`${who}-key.pem`), '-out', at(`${who}.csr`)];
    await run('openssl', 'req', ...NEW_KEY, ...request, '-subj', `/CN=${who}`);
    const signing = ['-CA', at('ca-cert.pem'), '-CAkey', at('ca-key.pem'), '-CAcreateserial'];
    const files = ['-in', at(`${who}.csr`), '-out', at(`${who}-cert.pem`), '-extfile', at('names')];
    await run('openssl', 'x509', '-req', ...files, ...signing, '-days', '2');
  }
}

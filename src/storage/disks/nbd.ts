/** The kind `nbd`: an export of any NBD server. */
import { type DiskKind, DiskPlan } from '../plan/disk-kind.ts';
import { count, decimal, text } from '../plan/parameter-types.ts';

const MAX_CONNECTIONS = 16;
/** A day. */
const MAX_SECONDS = 86_400;

/** See the kind's parameters. Times in seconds. */
export interface NbdParameters {
  readonly uri: string;
  readonly connections?: number;
  readonly reconnect?: number;
  readonly timeout?: number;
  readonly tlsCa?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsHostname?: string;
}

/** See the module's comment. */
export const nbdKind: DiskKind<NbdParameters> = {
  name: 'nbd',
  summary: 'an export of an NBD server',
  below: 'none',
  primary: 'uri',
  parameters: {
    uri: { type: text('uri'), summary: 'nbd://host/export and the like', isRequired: true },
    connections: { type: count(1, MAX_CONNECTIONS), summary: 'if the server can have several' },
    reconnect: { type: decimal(0, MAX_SECONDS, 'seconds'), summary: 'wait for a lost server' },
    timeout: { type: decimal(0, MAX_SECONDS, 'seconds'), summary: 'of silence; 0: any' },
    tlsCa: { type: text('path'), summary: 'certificates of authorities to trust' },
    tlsCert: { type: text('path'), summary: 'certificate to show' },
    tlsKey: { type: text('path'), summary: 'its private key' },
    tlsHostname: { type: text('name'), summary: "what the server's certificate has to name" },
  },
  // Its modules are read only if there is one.
  open: async (context) => (await import('../nbd/open-nbd.ts')).openNbd(context),
};

/** An export of an NBD server: `nbd://host/export`, `nbd+unix:///export?socket=/path`, ... */
export function nbd(uri: string, parameters: Omit<NbdParameters, 'uri'> = {}): DiskPlan {
  return new DiskPlan(nbdKind, { ...parameters, uri });
}

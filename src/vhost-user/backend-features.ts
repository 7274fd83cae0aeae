/** What a back-end session offers of the protocol itself. */
import { protocolFeatureSet } from './protocol-features.ts';

/** Protocol features a back-end session has. */
export const BACKEND_PROTOCOL_FEATURES: bigint = protocolFeatureSet([
  'MQ',
  'LOG_SHMFD',
  'REPLY_ACK',
  'BACKEND_REQ',
  'CONFIG',
  'INFLIGHT_SHMFD',
  'RESET_DEVICE',
  'CONFIGURE_MEM_SLOTS',
  'STATUS',
]);

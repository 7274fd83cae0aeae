/** What a back-end session offers of the protocol itself. */
import { ProtocolError } from './errors.ts';
import {
  hasProtocolFeature,
  protocolFeatureNames,
  protocolFeatureSet,
} from './protocol-features.ts';

/** Protocol features a back-end session has; a front-end accepts those of them that it needs. */
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
  'GET_VRING_BASE_INFLIGHT',
]);

/** Throws a `ProtocolError` for features that a front-end must not accept. */
export function checkProtocolFeatures(accepted: bigint): void {
  const unknown = accepted & ~BACKEND_PROTOCOL_FEATURES;
  if (unknown !== 0n) {
    const names = protocolFeatureNames(unknown).join(', ');
    throw new ProtocolError('BAD_FEATURES', `protocol features that were not offered: ${names}`);
  }
  const leavesRest = hasProtocolFeature(accepted, 'GET_VRING_BASE_INFLIGHT');
  if (leavesRest && !hasProtocolFeature(accepted, 'INFLIGHT_SHMFD')) {
    const text =
      'GET_VRING_BASE_INFLIGHT without INFLIGHT_SHMFD: there is no log to leave requests in';
    throw new ProtocolError('BAD_FEATURES', text);
  }
}

/** The vhost-user protocol: messages, and both ends of a session. */
export type { BackendDevice, HaltMode, InflightPart, RingSetup } from './backend-device.ts';
export { BACKEND_PROTOCOL_FEATURES } from './backend-features.ts';
export { BackendSession, type BackendSessionOptions } from './backend-session.ts';
export { Channel, type ChannelHandler, type Frame, FrameFlag } from './channel.ts';
export { ProtocolError, type ProtocolErrorCode } from './errors.ts';
export {
  Frontend,
  type FrontendOptions,
  type InflightMemory,
  NO_PROTOCOL_FEATURES,
  type RingPlan,
  type SharedRegion,
} from './frontend.ts';
export { FrontendSession, type FrontendSessionOptions } from './frontend-session.ts';
export {
  BackendMessages,
  type FrontendMessageName,
  FrontendMessages,
  type FrontendRequest,
  MAX_CONFIG_BYTES,
  type RegionDescription,
  type ReplyOf,
  type RequestOf,
  VRING_NO_FD_BIT,
} from './messages.ts';
export {
  F_LOG_ALL,
  F_PROTOCOL_FEATURES,
  hasProtocolFeature,
  ProtocolFeature,
  type ProtocolFeatureName,
  protocolFeatureNames,
  protocolFeatureSet,
} from './protocol-features.ts';

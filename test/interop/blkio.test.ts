/** The client library on qemu-storage-daemon: the same suites as on our own server. */
import { asyncRefusalSuite, asyncSuite } from '../support/blkio-async-suite.ts';
import { completionSuite, waitSuite } from '../support/blkio-completion-suite.ts';
import { memoryRefusalSuite, memorySuite } from '../support/blkio-memory-suite.ts';
import { modelSuite } from '../support/blkio-model-suite.ts';
import { DAEMON_PLACE } from '../support/blkio-place.ts';
import { propertySuite } from '../support/blkio-property-suite.ts';
import { refusalSuite, requestSuite } from '../support/blkio-request-suite.ts';
import { stateSuite } from '../support/blkio-state-suite.ts';
import { threadSuite } from '../support/blkio-thread-suite.ts';

stateSuite(DAEMON_PLACE);
propertySuite(DAEMON_PLACE);
requestSuite(DAEMON_PLACE);
refusalSuite(DAEMON_PLACE);
completionSuite(DAEMON_PLACE);
waitSuite(DAEMON_PLACE);
memorySuite(DAEMON_PLACE);
memoryRefusalSuite(DAEMON_PLACE);
modelSuite(DAEMON_PLACE);
asyncSuite(DAEMON_PLACE);
asyncRefusalSuite(DAEMON_PLACE);
threadSuite(DAEMON_PLACE);

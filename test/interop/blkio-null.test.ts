/** The client library on a disk without data: what does not depend on any. */
import { asyncRefusalSuite } from '../support/blkio-async-suite.ts';
import { waitSuite } from '../support/blkio-completion-suite.ts';
import { memoryRefusalSuite } from '../support/blkio-memory-suite.ts';
import { NULL_PLACE } from '../support/blkio-place.ts';
import { propertySuite } from '../support/blkio-property-suite.ts';
import { refusalSuite } from '../support/blkio-request-suite.ts';
import { stateSuite } from '../support/blkio-state-suite.ts';

stateSuite(NULL_PLACE);
propertySuite(NULL_PLACE);
refusalSuite(NULL_PLACE);
waitSuite(NULL_PLACE);
memoryRefusalSuite(NULL_PLACE);
asyncRefusalSuite(NULL_PLACE);

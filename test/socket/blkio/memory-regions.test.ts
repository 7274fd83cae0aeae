/** Memory regions of the client library. */
import { memoryRefusalSuite, memorySuite } from '../../support/blkio-memory-suite.ts';
import { LOCAL_PLACES } from '../../support/blkio-place.ts';

for (const place of LOCAL_PLACES) {
  memorySuite(place);
  memoryRefusalSuite(place);
}

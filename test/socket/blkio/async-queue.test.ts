/** Requests of the client library as promises. */
import { asyncRefusalSuite, asyncSuite } from '../../support/blkio-async-suite.ts';
import { LOCAL_PLACES } from '../../support/blkio-place.ts';

for (const place of LOCAL_PLACES) {
  asyncSuite(place);
  asyncRefusalSuite(place);
}

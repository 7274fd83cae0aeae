/** Requests of the client library. */
import { LOCAL_PLACES, PACKED_PLACE } from '../../support/blkio-place.ts';
import { refusalSuite, requestSuite } from '../../support/blkio-request-suite.ts';

for (const place of [...LOCAL_PLACES, PACKED_PLACE]) {
  requestSuite(place);
  refusalSuite(place);
}

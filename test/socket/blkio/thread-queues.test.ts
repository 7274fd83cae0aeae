/** Queues of one device in several threads. */
import { LOCAL_PLACES, PACKED_PLACE } from '../../support/blkio-place.ts';
import { threadSuite } from '../../support/blkio-thread-suite.ts';

for (const place of [...LOCAL_PLACES, PACKED_PLACE]) threadSuite(place);

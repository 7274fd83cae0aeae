/** Completions and queues of the client library. */
import { completionSuite, waitSuite } from '../../support/blkio-completion-suite.ts';
import { LOCAL_PLACES, PACKED_PLACE, SERVER_PLACE } from '../../support/blkio-place.ts';

for (const place of [...LOCAL_PLACES, PACKED_PLACE]) completionSuite(place);
waitSuite(SERVER_PLACE);

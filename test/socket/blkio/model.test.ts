/** Random requests of the client library against a model. */
import { modelSuite } from '../../support/blkio-model-suite.ts';
import { LOCAL_PLACES, PACKED_PLACE } from '../../support/blkio-place.ts';

for (const place of [...LOCAL_PLACES, PACKED_PLACE]) modelSuite(place);

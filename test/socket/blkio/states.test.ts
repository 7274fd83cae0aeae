/** States of devices, and what ends a connection. */
import { LOCAL_PLACES } from '../../support/blkio-place.ts';
import { stateSuite } from '../../support/blkio-state-suite.ts';

for (const place of LOCAL_PLACES) stateSuite(place);

/** Properties of devices. */
import { LOCAL_PLACES } from '../../support/blkio-place.ts';
import { driverNameSuite, propertySuite } from '../../support/blkio-property-suite.ts';

driverNameSuite();
for (const place of LOCAL_PLACES) propertySuite(place);

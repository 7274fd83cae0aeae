/** Completion descriptors of the client library's queues. */
import { completionFdSuite, eventSuite } from '../../support/blkio-event-suite.ts';
import { LOCAL_PLACES } from '../../support/blkio-place.ts';

for (const place of LOCAL_PLACES) {
  eventSuite(place, 'io_uring');
  eventSuite(place, 'epoll');
  completionFdSuite(place);
}

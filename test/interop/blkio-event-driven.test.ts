/** Completion descriptors of the client library's queues, on qemu-storage-daemon. */
import { completionFdSuite, eventSuite } from '../support/blkio-event-suite.ts';
import { DAEMON_PLACE, NULL_PLACE } from '../support/blkio-place.ts';

eventSuite(DAEMON_PLACE, 'io_uring');
eventSuite(DAEMON_PLACE, 'epoll');
completionFdSuite(DAEMON_PLACE);
completionFdSuite(NULL_PLACE);

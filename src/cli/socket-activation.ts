/**
 * Socket activation, as sd_listen_fds(3) has it: the service manager has opened the socket, and
 * says so in the environment. Names (LISTEN_FDNAMES) are for services with several sockets.
 */
import { UsageError } from './program.ts';

/** SD_LISTEN_FDS_START: the first descriptor that is passed. */
const FIRST_DESCRIPTOR = 3;

/**
 * The descriptor of the socket passed to this process, or `undefined` if none was.
 *
 * @param pid - this process: what was meant for another, and inherited, does not count.
 * @throws UsageError for more than one, and for what makes no sense.
 */
export function activationSocket(environment: NodeJS.ProcessEnv, pid: number): number | undefined {
  const { LISTEN_PID: meantFor, LISTEN_FDS: count } = environment;
  if (meantFor === undefined || count === undefined) return undefined;
  for (const [name, value] of Object.entries({ LISTEN_PID: meantFor, LISTEN_FDS: count })) {
    if (!/^\d{1,10}$/.test(value)) throw new UsageError(`${name}=${value}: it must be a number`);
  }
  if (Number(meantFor) !== pid || Number(count) === 0) return undefined;
  if (Number(count) === 1) return FIRST_DESCRIPTOR;
  throw new UsageError(`LISTEN_FDS=${count}: one socket can be served, give each disk a service`);
}

/** Whether this kernel has Landlock. */
import { landlockAbi } from '../../src/sys/index.ts';

/** What is missing, for a test's `skip`; false if it is there. */
export function missingLandlock(): string | false {
  try {
    landlockAbi();
    return false;
  } catch (error) {
    return `needs Landlock (${String(error)}); boot with lsm=landlock,...`;
  }
}

/** Program: attaches a loop device to the file it is given, says so, and waits for its end. */
import { attachLoop } from './host-file-systems.ts';

process.stdout.write(`${attachLoop(process.argv[2]).path}\n`);
process.stdin.resume();

/**
 * The part of the guest's root that differs from boot to boot: init, the shell functions for
 * checks, and the script to run.
 */
import { readFileSync } from 'node:fs';
import { type CpioEntry, cpioArchive } from '../../tools/guest/cpio.ts';
import { MODULE_LIST } from '../../tools/guest/root-layers.ts';
import type { GuestAssets } from '../../tools/guest-assets.ts';
import type { GuestTask } from './guest-options.ts';

/**
 * Process 1. The script runs in a shell of its own, so that even a syntax error in it is reported
 * and followed by a power-off.
 */
const INIT = `#!/bin/sh
export PATH=/usr/bin:/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec 3<>/dev/ttyS1
stty raw -echo <&3
# Firmware may have left a line without an end.
printf '\nup\n' >&3
while read -r module; do insmod "$module"; done <${MODULE_LIST}
sh /guest/main.sh
status=$?
# The guest goes on from another root: its init reports the exit status and ends the guest.
[ -x /mnt/sbin/init ] && [ -e /guest/switch-root ] && exec switch_root /mnt /sbin/init
echo "exit $status" >&3
# Closing waits until the port has sent everything.
exec 3>&-
poweroff -f
`;

/** The script's surroundings; exit status 0 unless the script ends itself with another. */
const MAIN = `. /guest/checks.sh
. /guest/script.sh
exit 0
`;

const CHECKS = `
report() {
  printf '%s\\n' "$*"
  printf '%s\\n' "$*" >&3
}

# The text of standard input as one line.
one_line() {
  tr -d '\\r' | tr '\\n' ' '
}

# check NAME COMMAND...: run a command or shell function and report whether it succeeded.
# The name has no blanks. Returns the command's exit status.
check() {
  check_name=$1
  shift
  check_status=0
  "$@" >/tmp/check.out 2>&1 || check_status=$?
  cat /tmp/check.out
  if [ "$check_status" -eq 0 ]; then
    report "ok $check_name"
  else
    report "not ok $check_name status $check_status: $(tail -n 5 /tmp/check.out | one_line)"
  fi
  return "$check_status"
}

# fact NAME VALUE...: report something measured.
fact() {
  fact_name=$1
  shift
  report "fact $fact_name $(printf '%s' "$*" | one_line)"
}

# host NAME: let the host do a step and wait for it; what it answers is in $host_reply.
host() {
  report "host $1"
  read -r host_reply <&3
}
`;

/** The cpio archives of a guest's root, to be put one behind the other: assets, init and script. */
export function initrdLayers(task: GuestTask, assets: GuestAssets): Buffer[] {
  const paths = [assets.baseLayerPath, ...(task.fio ? [assets.fioLayerPath] : [])];
  return [...paths.map((path) => readFileSync(path)), scriptLayer(task.script)];
}

function scriptLayer(script: string): Buffer {
  return cpioArchive([
    file('/init', INIT),
    file('/guest/main.sh', MAIN),
    file('/guest/checks.sh', CHECKS),
    file('/guest/script.sh', script),
  ]);
}

function file(path: string, text: string): CpioEntry {
  return { kind: 'file', path, data: Buffer.from(text), mode: 0o755 };
}

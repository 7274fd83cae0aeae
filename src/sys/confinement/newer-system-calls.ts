/** System calls of the common numbering (424 and above) that a confined process is refused. */

/** The newest call that was looked at (file_setattr, Linux 6.17): later ones do not exist here. */
export const NEWEST_CALL = 469;

/** One number for both architectures. */
function everywhere(number: number): readonly [number, number] {
  return [number, number];
}

export const NEWER_CALLS: Readonly<Record<string, readonly [number, number]>> = {
  // Other processes.
  pidfd_send_signal: everywhere(424),
  pidfd_open: everywhere(434),
  pidfd_getfd: everywhere(438),
  process_madvise: everywhere(440),
  process_mrelease: everywhere(448),
  // Rings without the restrictions that ours have: they could do what is refused here.
  io_uring_setup: everywhere(425),
  // Files.
  openat2: everywhere(437),
  fchmodat2: everywhere(452),
  setxattrat: everywhere(463),
  removexattrat: everywhere(466),
  file_setattr: everywhere(469),
  // Mounts and quotas.
  open_tree: everywhere(428),
  move_mount: everywhere(429),
  fsopen: everywhere(430),
  fsconfig: everywhere(431),
  fsmount: everywhere(432),
  fspick: everywhere(433),
  mount_setattr: everywhere(442),
  quotactl_fd: everywhere(443),
  statmount: everywhere(457),
  listmount: everywhere(458),
  open_tree_attr: everywhere(467),
  // Kernel surface.
  memfd_secret: everywhere(447),
  lsm_set_self_attr: everywhere(460),
};

"""Nodes of the lab that are emulated machines with Debian's kernel: for what the kernel of the machine itself has not (LIO).

They run the same agent and guard from the same files: their root is the machine's own, read-only by 9p under an overlay in
memory; what a node keeps (`/etc/holdfast`, `/var/lib/holdfast`, its logs) and the shared storage are directories of the lab.
Their watchdog is that of QEMU (i6300esb), which stands still while QEMU does.
"""

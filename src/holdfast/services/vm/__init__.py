"""Virtual machines: QEMU through libvirt, one libvirt daemon per node, one process per machine in its strict group."""

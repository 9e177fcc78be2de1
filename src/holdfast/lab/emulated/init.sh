#!/bin/busybox sh
# The first process of an emulated node, in its initramfs. On the kernel's command line: hf.src=DIRECTORY of the code.
# Its disk (9p tag "node") has etc/, var/ and boot.sh; "root" is the machine's root, "shared" the shared storage.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/modules/$module" || echo "emulated node: no module $module"
done </modules/order

share="trans=virtio,version=9p2000.L,msize=262144"
mount -t 9p -o "ro,$share,cache=loose" root /lower
mount -t 9p -o "$share" node /node
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/lower,upperdir=/memory/upper,workdir=/memory/work root /new
mkdir -p /new/shared
mount -t 9p -o "$share" shared /new/shared
for directory in etc/holdfast var/lib/holdfast var/log/holdfast; do
    mkdir -p "/new/$directory"
    mount --bind "/node/upper/$directory" "/new/$directory"
done
mount -t tmpfs -o mode=755 run /new/run
for directory in proc sys dev; do mount --move "/$directory" "/new/$directory"; done
mkdir -p /new/dev/pts /new/dev/shm
mount -t devpts devpts /new/dev/pts
mount -t tmpfs -o mode=1777 shm /new/dev/shm
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t configfs configfs /new/sys/kernel/config
mkdir -p /new/etc/target/alua /new/etc/target/pr /new/dev/disk/by-id
for disk in /new/sys/block/vd*; do # what udev would do
    [ -e "$disk/serial" ] && ln -s "../../${disk##*/}" "/new/dev/disk/by-id/virtio-$(cat "$disk/serial")"
done
cp /node/boot.sh /new/run/boot.sh
exec switch_root /new /usr/bin/tini -- /bin/sh /run/boot.sh

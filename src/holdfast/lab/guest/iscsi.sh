#!/bin/busybox sh
# The first program of the lab's iSCSI client guest. It runs each line `ID COMMAND` that it hears on its virtio-serial port
# with a shell, several at once, and says what the command prints and how it ends, as lines of JSON.
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /sbin /etc/iscsi /etc/multipath /var/lib/iscsi /lib/systemd
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mkdir -p /run/udev /run/lock /dev/shm
for setting in $(cat /proc/cmdline); do
	case $setting in hf.*) export "${setting#hf.}" ;; esac
done
while read -r module; do
	insmod "/modules/$module" || echo "guest: no module $module"
done </modules/order
hostname hf-iscsi
ip link set lo up
case $ip in *:*) echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad ;; esac
ip addr add "$ip/$plen" dev eth0
ip link set eth0 up
echo root:x:0:0:root:/:/bin/sh >/etc/passwd # iscsid takes orders from root only, by that name
ln -s /bin/udevadm /lib/systemd/systemd-udevd
/lib/systemd/systemd-udevd --daemon

until port=$(ls /dev/vport*p1 2>/dev/null); do sleep 0.1; done
exec 3<>"$port"
echo '{"event":"up"}' >&3

quote() { # lines → JSON; awk says a whole line at once, so that those of several commands do not mix
	awk -v id="$1" '{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); print "{\"id\":" id ",\"out\":\"" $0 "\"}"; fflush() }'
}

silent=0
while [ $silent -lt 100 ]; do
	while read -r id command <&3; do
		silent=0
		(
			status=/run/status-$id
			{ sh -c "$command" 2>&1 </dev/null; echo $? >$status; } | quote $id
			echo "{\"id\":$id,\"status\":$(cat $status)}"
		) >&3 &
	done
	# Nobody holds the host's end: whoever started this machine is gone, and it must not stay behind.
	silent=$((silent + 1))
	sleep 0.05
done
reboot -f # QEMU runs with -no-reboot and ends

# Powers a machine of the laboratory on: gives the image's root what firmware, kernel and initrd give it on a machine,
# and becomes its systemd. Runs as the first process of new namespaces, with the machine's folder and the site in
# its environment; what it mounts ends with them.
set -euo pipefail
root=$MACHINE/root
scratch=$MACHINE/scratch

# A cable to the site's switch. `1` is this process, in its own namespace of processes. The kernel may still have the
# cable of the machine that was just powered off.
nsenter --net="/run/netns/$SITE" ip link delete "port$NUMBER" 2> /dev/null || true
nsenter --net="/run/netns/$SITE" ip link add "port$NUMBER" type veth peer name "$INTERFACE" address "$MAC" netns 1
nsenter --net="/run/netns/$SITE" ip link set "port$NUMBER" master switch0 up
ip link set lo up

# The root, with what a stick would bring, and memory over what is written.
mount -t overlay root -o "lowerdir=$MACHINE/brought:$IMAGE/root" "$root"
mount -t tmpfs scratch "$scratch"
for name in etc var; do
  mkdir -p "$scratch/$name/upper" "$scratch/$name/work"
  mount -t overlay "$name" \
    -o "lowerdir=$root/$name,upperdir=$scratch/$name/upper,workdir=$scratch/$name/work" "$root/$name"
done
mount --bind "$IMAGE/store" "$root/usr/lib/seedbed/store"
printf '%s' "$MAC" | md5sum | cut -c 1-32 > "$root/etc/machine-id"
# The store is mounted, and needs no dm-verity.
: > "$root/etc/veritytab"
# The card is half of a pair, which has a kind and no permanent address.
for file in 40-seedbed-cluster 50-seedbed-other; do
  mkdir -p "$root/etc/systemd/network/$file.network.d"
  printf '[Match]\nKind=\nPermanentMACAddress=\nName=%s\n' "$INTERFACE" \
    > "$root/etc/systemd/network/$file.network.d/laboratory.conf"
done

# Settings of the host's kernel are not the machine's to change; kubelet only wants to see these.
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,ro,bind "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,rw,bind "$root/proc/sys/net"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  shown=$scratch/${setting%=*}
  mkdir -p "${shown%/*}"
  echo "${setting#*=}" > "$shown"
  mount --bind "$shown" "$root/proc/sys/${setting%=*}"
done

# The card pretends to be hardware, and the image's loop device to be the disk that was booted.
mount -t sysfs -o ro sysfs "$root/sys"
mkdir -p "$scratch/card/device" "$scratch/slaves"
echo 0 > "$scratch/card/addr_assign_type"
card=$root/sys/devices/virtual/net/$INTERFACE
mount -t overlay card -o "lowerdir=$scratch/card:$card" "$card"
touch "$scratch/slaves/${DISK#/dev/}"
echo 0 > "$scratch/writable"
disk=$root/sys/devices/virtual/block/${DISK#/dev/}
mount --bind "$scratch/slaves" "$disk/slaves"
mount --bind "$scratch/writable" "$disk/ro"

# Control groups: those of the host, from this machine's on down. firstboot looks for services where the unified
# hierarchy has them.
groups=$root/sys/fs/cgroup
mount -t tmpfs groups "$groups"
for controller in $CONTROLLERS; do
  mkdir "$groups/$controller"
  mount -t cgroup -o "$controller" "$controller" "$groups/$controller"
done
mkdir "$groups/systemd" "$groups/unified"
mount -t cgroup -o none,name=systemd systemd "$groups/systemd"
mount -t cgroup2 unified "$groups/unified"
ln -s unified/system.slice "$groups/system.slice"

# Devices.
mount -t tmpfs -o mode=755 dev "$root/dev"
for device in null zero full random urandom tty kmsg fuse; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/mapper" "$root/dev/mqueue"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs shm "$root/dev/shm"
mount -t mqueue mqueue "$root/dev/mqueue"
for device in "$DISK" /dev/loop-control; do
  touch "$root$device"
  mount --bind "$device" "$root$device"
done
touch "$root/dev/mapper/root" "$root/dev/console"
mount --bind "$DISK" "$root/dev/mapper/root"
mount --bind "$MACHINE/console" "$root/dev/console"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# STATE and DATA are folders of the host, of one incarnation.
mount -t tmpfs -o mode=755 run "$root/run"
mkdir -p "$root/run/lock" "$root/run/seedbed/state" "$root/run/seedbed/data" "$root/run/old"
mount --bind "$MACHINE/state" "$root/run/seedbed/state"
mount --bind "$MACHINE/data" "$root/run/seedbed/data"
mount -t tmpfs tmp "$root/tmp"

cd "$root"
pivot_root . run/old
umount -l /run/old
hostname machine
# systemd wants to be told that the old control groups are meant.
exec env -i container=laboratory PATH=/usr/sbin:/usr/bin /usr/lib/systemd/systemd systemd.unified_cgroup_hierarchy=0 \
  systemd.legacy_systemd_cgroup_controller=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.log_target=console \
  < /dev/null > /dev/console 2>&1

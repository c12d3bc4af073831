#!/bin/bash
# cgroup_vm.sh DIR KERNEL ISOLATION FAULTS [ARGUMENT...]: boots a virtual machine and runs tests of control
# groups in it, as `cargo xtask cgroup-vm` says. DIR is for what is made. The machine's root is this one's, to
# be read, with a layer in memory over it. Its processor is emulated: that needs no KVM, and takes its time.
set -eu -o pipefail

dir=$1 kernel=$2
shift 2
mkdir -p "$dir/initrd"/{bin,lower,over,new}
cp "$(command -v busybox)" "$dir/initrd/bin/busybox"

number=100
modprobe --set-version "$kernel" --show-depends --all virtio_pci 9pnet_virtio 9p overlay \
    | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
    number=$((number + 1))
    case $module in
        *.xz) xz -dc "$module" ;;
        *.zst) zstd -dcq "$module" ;;
        *) cat "$module" ;;
    esac > "$dir/initrd/$number.ko"
done

# Beside the tests: who runs them, and in which group. `own` hands a tree over as systemd's `Delegate=yes`
# does; the group `app` in it is that of `DelegateSubgroup=app`.
cat > "$dir/tests.sh" <<'TESTS'
export HOME=/tmp LANG=C.UTF-8 CARGO_MANIFEST_DIR=/ ABYME_IGNORED=/tmp/ignored
: > /tmp/ignored
chmod 666 /tmp/ignored
groups=/sys/fs/cgroup failed=0 isolation=$1 faults=$2
shift 2
[ $# -gt 0 ] || set -- groups::
own() { chown 1000:1000 "$1" "$1/cgroup.procs" "$1/cgroup.threads" "$1/cgroup.subtree_control"; }
inside() {
    local group=$1
    shift
    bash -c 'echo $$ > "$0/cgroup.procs" && exec "$@"' "$group" "$@"
}
as_user() {
    inside "$1" setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "${@:2}"
}
try() {
    echo "== $1"
    "${@:2}" || failed=1
    find $groups -name 'abyme-*' -type d -printf 'left behind: %p\n'
}
both() {
    try "$1: isolation" "${@:2}" "$isolation" --test-threads 1 "${tests[@]}"
    try "$1: faults" "${@:2}" "$faults" --test-threads 1 host::a_host_without_memory
}
tests=("$@")
export ABYME_TEST_PYTHON=/usr/bin/python3
both "root, in the root of all" env
echo '+memory +pids' > $groups/cgroup.subtree_control
mkdir -p $groups/delegated/app $groups/other
own $groups/delegated
own $groups/delegated/app
both "a user with a delegated tree" as_user $groups/delegated/app
both "a user without one" as_user $groups/other
mount -o remount,bind,ro $groups
both "root, where nothing may be changed" env
sort /tmp/ignored | uniq -c
echo "cgroup-vm: ended with $failed"
TESTS

cat > "$dir/initrd/init" <<INIT
#!/bin/busybox sh
export PATH=/bin
for module in /*.ko; do busybox insmod \$module; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /lower
busybox mount -t tmpfs over /over
busybox mkdir /over/upper /over/work
busybox mount -t overlay -o lowerdir=/lower,upperdir=/over/upper,workdir=/over/work over /new
for kind in proc:proc sysfs:sys devtmpfs:dev tmpfs:tmp tmpfs:run cgroup2:sys/fs/cgroup; do
    busybox mount -t \${kind%%:*} none /new/\${kind#*:}
done
busybox chmod 1777 /new/tmp
busybox mkdir -p /new/dev/shm /new/dev/pts
busybox mount -t tmpfs none /new/dev/shm
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# The end may take the files away before it comes: only words of the shell are left then.
exec busybox switch_root /new /bin/bash -c \
    'ip link set lo up; bash "\$@"; echo o > /proc/sysrq-trigger; while :; do :; done' \
    bash $(printf '%q ' "$dir/tests.sh" "$@")
INIT
chmod +x "$dir/initrd/init"
(cd "$dir/initrd" && find . | cpio --quiet -o -H newc | gzip -1) > "$dir/initrd.gz"

qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 4G -nographic -nic none -no-reboot \
    -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
    -kernel "/boot/vmlinuz-$kernel" -initrd "$dir/initrd.gz" -append "console=ttyS0 loglevel=1 panic=-1" \
    < /dev/null | tee "$dir/log"
grep -q "cgroup-vm: ended with 0" "$dir/log"

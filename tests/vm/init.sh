#!/bin/busybox sh
# What the machine does: it looks at its store, says what is there, and works until it is killed.
# Each line that begins with a word in capitals is for the test.
b=/bin/busybox
if [ ! -e /started ]; then
    $b mkdir -p /proc /sys /dev
    $b mount -t proc proc /proc
    $b mount -t devtmpfs dev /dev
    for module in /modules/*; do $b insmod "$module"; done
    # A container cannot leave the first root of all, which is in memory.
    $b mkdir /next
    $b mount -t tmpfs next /next
    $b cp -a /bin /fsck /init /base.tar /next
    $b mkdir -p /next/proc /next/sys /next/dev /next/disk /next/tmp /next/etc
    $b touch /next/started
    $b mount --move /dev /next/dev
    $b umount /proc
    exec $b switch_root /next /init
fi
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b --install -s /bin
export PATH=/bin HOME=/ LATH_ROOT=/disk/store
# Nothing comes in between of what is for the test.
exec 2>/tmp/errors
failed() { echo "FAILED $* $(tail -n 1 /tmp/errors)"; }
for word in $(cat /proc/cmdline); do
    case $word in
        system=*) system=${word#*=} ;;
        turn=*) turn=${word#*=} ;;
    esac
done
attach() { mount -t "$system" -o noatime /dev/vda /disk; }
# What the kernel does not take any more is mended first, as a device does when it starts.
if ! attach; then
    /fsck/loader --library-path /fsck "/fsck/fsck.$system" -f -y /dev/vda >/tmp/fsck
    echo "MENDED $? $(tail -n 1 /tmp/errors)"
    attach || failed "mount"
fi
echo "BOOTED $(uname -r)"
lath fsck 2>&1 | sed 's/^/FSCK /'
lath images --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' >/tmp/images || failed "images"
while read -r name id; do
    echo "IMAGE $name $id $(lath save "$id" | sha256sum | cut -c 1-64)"
    lath run --rm "$id" true || failed "run $id"
done </tmp/images
lath ps -a --format '{{.Names}}' >/tmp/containers || failed "ps"
while read -r name; do
    echo "CONTAINER $name"
    lath start "$name" >/dev/null && lath stop -t 0 "$name" >/dev/null || failed "start $name"
done </tmp/containers
echo "TMP $(ls /disk/store/tmp 2>/dev/null | wc -l)"
echo CHECKED
lath load -q -i /base.tar >/dev/null || failed "load"
mkdir /context
while :; do
    turn=$((turn + 1)) name=n:$((turn % 4)) old=n:$(((turn + 2) % 4))
    echo "$turn" >/context/file
    printf 'FROM base\nRUN echo %s > /s\nRUN echo %s > /n && head -c 400000 /bin/busybox > /h%s\nCOPY file /f\n' \
        $((turn % 3)) $turn $turn >/context/Dockerfile
    echo "WILL $name"
    id=$(lath build -q -t $name /context) && echo "DONE $name $id" || failed "build"
    case $((turn % 5)) in
        1)
            echo "WILL $old"
            lath rmi -f $old >/dev/null 2>&1
            echo "GONE $old"
            ;;
        2)
            echo "WILL c$turn"
            lath create --name c$turn $name busybox sleep 1000 >/dev/null && echo "MADE c$turn" || failed "create"
            ;;
        3) lath system prune -f >/dev/null || failed "prune" ;;
        4) lath gc >/dev/null || failed "gc" ;;
    esac
done

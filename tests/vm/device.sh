#!/bin/busybox sh
# The first program of the machine in device.rs: a read-only root on the first disk, a store on the
# second. "work=" on the kernel's command line says what it does; lines with a word in capitals
# are for the test.
b=/bin/busybox
if [ -d /modules ]; then
    # An initramfs before the real root, since Debian's kernel has its drivers as modules.
    $b mkdir -p /proc /dev /firmware
    $b mount -t proc proc /proc
    $b mount -t devtmpfs dev /dev
    for module in /modules/*; do $b insmod "$module"; done
    $b rm -r /modules
    until [ -e /dev/vda ]; do $b usleep 10000; done
    $b mount -t squashfs -o ro /dev/vda /firmware
    $b mount --move /dev /firmware/dev
    $b umount /proc
    exec $b switch_root /firmware /init
fi
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mkdir /dev/pts && mount -t devpts devpts /dev/pts
mount -t ext4 -o noatime /dev/vdb /var || echo "FAILED the disk"
ifconfig lo 127.0.0.1 up
. /etc/default/lath
export LATH_STORES
for word in $(cat /proc/cmdline); do
    case $word in work=*) work=${word#*=} ;; esac
done

now() { cut -d ' ' -f 1 /proc/uptime; }
least() { echo "LEAST $(cat /tmp/least) $(grep -m 1 MemTotal /proc/meminfo)"; }
off() {
    least
    sync
    reboot -f
}
failed() {
    echo "FAILED $*"
    cat /tmp/said
    off
}

# The least memory that was ever available, in kB.
watch() {
    least=999999999
    while :; do
        while read -r key value _; do
            case $key in
                MemAvailable:)
                    if [ "$value" -lt "$least" ]; then echo "$value" >/tmp/least && least=$value; fi
                    break
                    ;;
            esac
        done </proc/meminfo
        usleep 50000
    done
}

# Runs lath: how long it took, and what its own memory was at most, in kB; 0 when it was too quick to be
# looked at.
measured() {
    start=$(now)
    lath "$@" >/tmp/said 2>&1 &
    pid=$! peak=0 is_alive=1
    while [ $is_alive ]; do
        is_alive=
        while read -r key value _; do
            case $key in
                Name:) is_lath=$value ;;
                VmHWM:)
                    is_alive=1
                    if [ "$is_lath" = lath ]; then peak=$value; fi
                    ;;
            esac
        done </proc/$pid/status
        usleep 20000
    done 2>/dev/null
    wait $pid || failed "$*"
    echo "TOOK $start $(now) $peak lath $*"
}

# A program that answers a little later than it starts.
patiently() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        "$@" >/tmp/said 2>&1 && return
        sleep 1
    done
    failed "$*"
}

: >/tmp/said
watch &
echo "BOOTED $(uname -r) $(now)"
case $work in
    interrupted)
        # Somebody pulls the plug.
        httpd -p 127.0.0.1:8765 -h /srv/apk
        lath build --progress plain -t hub/redis /srv/redis
        ;;
    redis)
        httpd -p 127.0.0.1:8765 -h /srv/apk
        measured fsck
        measured build -t hub/redis /srv/redis
        measured build -t hub/redis /srv/redis
        measured run -d --name redis --restart unless-stopped hub/redis
        patiently lath exec redis redis-cli ping
        lath exec redis redis-cli set key kept
        lath exec redis redis-cli save
        least
        echo "RUNNING $(now) $(lath exec redis redis-cli ping)"
        # The plug again.
        sleep 1000
        ;;
    boot)
        /etc/init.d/S90lath start
        patiently lath exec redis redis-cli ping
        echo "RUNNING $(now) $(lath exec redis redis-cli ping) $(lath exec redis redis-cli get key)"
        measured fsck
        measured stop redis
        off
        ;;
    layers)
        # One string of 255 bytes names all lower directories until 6.7.
        echo "DRIVER $(lath info | grep 'Storage Driver')"
        measured build -q -t layers /srv/layers
        measured run --rm layers sh -c 'ls -d /d* | wc -l'
        echo "SAID $(cat /tmp/said)"
        off
        ;;
    plain)
        measured build -t plain /srv/plain
        measured build -t plain /srv/plain
        measured run --rm plain cat /made
        echo "SAID $(cat /tmp/said)"
        off
        ;;
    narrow)
        # lath and its steps, and what the kernel keeps of their files, in 24 MB.
        httpd -p 127.0.0.1:8765 -h /srv/apk
        mount -t cgroup2 cgroup2 /sys/fs/cgroup
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/narrow
        echo 24M >/sys/fs/cgroup/narrow/memory.max
        for image in plain redis; do
            sh -c 'echo $$ >/sys/fs/cgroup/narrow/cgroup.procs; exec "$@"' - \
                lath build -t $image /srv/$image >/tmp/said 2>&1 || failed $image
            echo "NARROW $image $(cat /sys/fs/cgroup/narrow/memory.peak) $(grep oom_kill /sys/fs/cgroup/narrow/memory.events)"
        done
        off
        ;;
    lacking)
        # A kernel without something: it works, or one line says why not.
        mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
        lath doctor | sed 's/^/DOCTOR /'
        try() {
            what=$1
            shift
            if "$@" >/tmp/said 2>&1; then echo "OK $what"; else echo "NO $what: $(tail -n 1 /tmp/said)"; fi
        }
        try build lath build -t plain /srv/plain
        try run lath run --rm alpine true
        try detached lath run -d --name cc alpine sleep 100
        try exec lath exec cc true
        try stop lath stop -t 0 cc
        try none lath run --rm --network none alpine true
        try memory lath run --rm --memory 16m alpine true
        try cpus lath run --rm --cpus 0.5 alpine true
        try pids lath run --rm --pids-limit 50 alpine true
        echo "TMP $(find /var/lib/lath/tmp -mindepth 1 -maxdepth 1 | wc -l)"
        off
        ;;
esac
